"""Translates a kernel from PTX to C++ that `fibers.cpp` runs.

    translate.py FILE.ptx KERNEL > kernel.cpp

Registers become variables of the function, instructions calls of what `instructions.h` has for them,
and branches jumps. What is not known ends with a sentence and status 1, so that no kernel runs that
was translated in part. PTX is described at
https://docs.nvidia.com/cuda/parallel-thread-execution/.
"""

import re
import sys

# Types of PTX, by what they are in C++ and how many bytes they have.
TYPES = {
    "pred": ("bool", 1),
    "f16": ("f16", 2),
    "bf16": ("bf16", 2),
    "f16x2": ("uint32_t", 4),
    "bf16x2": ("uint32_t", 4),
    "f32": ("float", 4),
    "f64": ("double", 8),
}
for _bits in (8, 16, 32, 64):
    for _letter, _name in (("u", "uint"), ("b", "uint"), ("s", "int")):
        TYPES[f"{_letter}{_bits}"] = (f"{_name}{_bits}_t", _bits // 8)

FLOATS = ("f16", "bf16", "f32", "f64")
ROUNDINGS = ("rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi")
SPACES = ("global", "shared", "local", "param", "const")
# Instructions for which threads wait for each other.
WAITING = ("bar", "barrier", "shfl", "mma", "ldmatrix")
# Nothing comes out of order here.
WITHOUT_EFFECT = ("membar", "fence", "prefetch", "prefetchu", "discard", "nanosleep")
OF_ONE = ("ex2", "lg2", "rcp", "rsqrt", "sqrt", "clz")

# Modifiers that are acted on, or that change nothing here. What is not among them is refused.
MODIFIERS = {
    *TYPES, *ROUNDINGS, *SPACES, "shared::cta",
    # Of loads and stores: how they are cached and ordered.
    "v2", "v4", "nc", "volatile", "relaxed", "weak", "gpu", "sys", "cta", "ca", "cg", "cs", "lu", "wb", "wt",
    "L1::no_allocate", "L1::evict_last", "L2::128B", "L2::256B", "noftz",
    # Of arithmetic. Numbers below the normal ones are kept, whatever `ftz` says.
    "lo", "hi", "wide", "cc", "sat", "approx", "full", "ftz", "to", "NaN",
    # Of jumps and what threads do together.
    "uni", "sync", "aligned", "warp", "async", "commit_group", "wait_group", "bfly", "down", "up", "idx",
    "m8n8", "m16n8k16", "x1", "x2", "x4", "trans", "row", "col",
    "add", "and", "or", "xor",
    # Of comparisons.
    "eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", 
}  # fmt: skip

SPECIAL = {
    "%tid": "thread->{}",
    "%ntid": "grid.threads_{}",
    "%ctaid": "grid.block_{}",
    "%nctaid": "grid.blocks_{}",
}


def c_type(ptx):
    return TYPES[ptx][0]


def size_of(ptx):
    return TYPES[ptx][1]


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)


def statements(body):
    """`{`, `}`, `label:`, or a statement without its semicolon."""
    found, current, depth, i = [], "", 0, 0
    while i < len(body):
        c = body[i]
        if c == '"':
            end = body.index('"', i + 1)
            current += body[i : end + 1]
            i = end
        elif c in "{}" and depth == 0 and not current.strip():
            found.append(c)
            current = ""
        elif c in "{}":
            # A list of operands.
            depth += 1 if c == "{" else -1
            current += c
        elif c == ";":
            if current.strip():
                found.append(" ".join(current.split()))
            current = ""
        elif c == ":" and re.fullmatch(r"\s*[A-Za-z_$][\w$]*", current) and body[i + 1] != ":":
            found.append(current.strip() + ":")
            current = ""
        else:
            current += c
        i += 1
    return found


def operands(text):
    """Parts between commas, but those within brackets."""
    found, current, depth = [], "", 0
    for c in text:
        depth += (c in "{[(") - (c in "}])")
        if c == "," and depth == 0:
            found.append(current.strip())
            current = ""
        else:
            current += c
    return found + [current.strip()] if current.strip() else found


def parts(operand):
    """The registers of a vector, or the one that it is."""
    return operands(operand[1:-1]) if operand.startswith("{") else [operand]


def space_of(modifiers):
    names = [modifier.split("::")[0] for modifier in modifiers]
    return next((name for name in names if name in SPACES), "generic")


class Function:
    """A kernel, or a function that one calls."""

    def __init__(self, module, name, text, is_kernel):
        self.module, self.name, self.is_kernel = module, name, is_kernel
        head, body = text[: text.index("{")], text[text.index("{") :]
        lists = re.findall(r"\(([^)]*)\)", head)
        self.parameters = [p for part in lists for p in self.parse_parameters(part)]
        self.shared, self.shared_bytes = {}, module.shared_bytes
        self.waits = False
        # Registers that have no `%`, as those of inline assembly.
        self.plain = set()
        self.registers, self.lines = [], []
        for statement in statements(body):
            try:
                self.translate(statement)
            except (KeyError, ValueError, IndexError, StopIteration, AssertionError) as problem:
                raise SystemExit(f"{name}: `{statement}` is not known: {problem!r}") from problem

    @staticmethod
    def parse_parameters(text):
        found = []
        for parameter in filter(None, (p.strip() for p in text.split(","))):
            match = re.fullmatch(
                r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+.*?([\w$]+)(?:\[(\d+)\])?",
                parameter,
                re.S,
            )
            assert match, parameter
            found.append((match[2], size_of(match[1]) * int(match[3] or 1)))
        return found

    def emit(self, line):
        self.lines.append(line)

    def translate(self, statement):
        if statement in "{}":
            self.emit(statement)
        elif statement.endswith(":"):
            self.emit(f"L_{statement[:-1]}: ;")
        elif statement.startswith("."):
            self.declare(statement)
        else:
            guard = re.match(r"@(!?)(%?\w+)\s+", statement)
            if guard:
                statement = statement[guard.end() :]
            operation, _, rest = statement.partition(" ")
            code = self.instruction(operation.split("."), rest.strip())
            if guard:
                code = f"if ({guard[1]}{self.value(guard[2], 'pred')}) {{ {code} }}"
            self.emit(code)

    def declare(self, statement):
        """Of registers, variables and what a call is given."""
        if statement.startswith(".pragma"):
            return
        registers = re.match(r"\.reg\s*\.(\w+)\s+", statement)
        if registers:
            for name in operands(statement[registers.end() :]):
                many = re.fullmatch(r"%(\w+)<(\d+)>", name)
                if many:
                    names = [f"R_{many[1]}{i}" for i in range(int(many[2]))]
                    self.registers.append((c_type(registers[1]), names))
                else:
                    self.plain.add(name)
                    self.emit(f"{c_type(registers[1])} {self.register(name)};")
            return
        variable = re.fullmatch(
            r"\.(local|shared|param)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?",
            statement,
        )
        assert variable, "a declaration"
        space, alignment, kind, name, length = variable.groups()
        n_bytes, alignment = size_of(kind) * int(length or 1), int(alignment or 1)
        if space == "shared":
            begin = -(-self.shared_bytes // alignment) * alignment
            self.shared[name], self.shared_bytes = begin, begin + n_bytes
        else:
            prefix = "P_" if space == "param" else ""
            self.emit(f"alignas(16) char {prefix}{name}[{max(n_bytes, 8)}];")

    # Operands.

    def register(self, name):
        return "R_" + name.lstrip("%")

    def value(self, operand, ptx):
        """An operand, read as a type."""
        c = c_type(ptx)
        special, _, axis = operand.partition(".")
        if special in SPECIAL:
            return f"get<{c}>({SPECIAL[special].format(axis)})"
        if operand == "%laneid":
            return f"get<{c}>(lane())"
        if operand.startswith("!"):
            return f"(!{self.value(operand[1:], 'pred')})"
        if operand.startswith("%") or operand in self.plain:
            return f"get<{c}>({self.register(operand)})"
        bits = re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", operand)
        if bits and ptx == "f64":
            return f"(double)as<float>(0x{bits[1]}u)"
        if bits:
            return f"get<{c}>(as<float>(0x{bits[1]}u))"
        bits = re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", operand)
        if bits:
            return f"get<{c}>(as<double>((uint64_t)0x{bits[1]}ull))"
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", operand):
            number = int(operand.rstrip("U"), 0) % 2**64
            if ptx == "pred":
                return "true" if number else "false"
            return f"lit<{c}>({number}ull)" if ptx in FLOATS else f"({c})(uint64_t){number}ull"
        symbol = re.fullmatch(r"([\w$]+)(?:\+(\d+))?", operand)
        assert symbol, operand
        return f"get<{c}>({self.symbol(symbol[1])} + {symbol[2] or 0})"

    def symbol(self, name):
        """The address of a variable in its own space."""
        for shared in (self.shared, self.module.shared):
            if name in shared:
                return f"(uint64_t){shared[name]}"
        if name in self.module.dynamic_shared:
            return "(uint64_t)BEGIN_OF_DYNAMIC"
        return f"(uint64_t)&{name}[0]"

    def address(self, operand, space):
        match = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+))?\s*\]", operand)
        assert match, operand
        base, offset = match[1], int(match[2] or 0)
        if base.startswith("%") or base in self.plain:
            begin = f"(uint64_t){self.register(base)}"
        elif space == "param":
            begin = f"(uint64_t)P_{base}"
        elif base.isdigit():
            begin = f"(uint64_t){base}"
        else:
            begin = self.symbol(base)
        shared = "grid.shared + " if space == "shared" else ""
        return f"({shared}{begin} + {offset})"

    def put(self, target, expression):
        if target == "_":
            return f"(void)({expression});"
        return f"set({self.register(target)}, {expression});"

    # Instructions.

    def instruction(self, operation, rest):
        name, modifiers = operation[0], operation[1:]
        unknown = [modifier for modifier in modifiers if modifier not in MODIFIERS]
        assert not unknown, f"unknown: {unknown}"
        types = [modifier for modifier in modifiers if modifier in TYPES]
        self.waits |= name in WAITING
        if name in WITHOUT_EFFECT:
            return ";"
        if name == "ret":
            return "return;"
        if name == "trap":
            return 'fail("it ends itself");'
        if name == "bra":
            return f"goto L_{rest};"
        if name == "call":
            return self.call(rest)
        of = operands(rest)
        special = getattr(self, "do_" + name, None)
        if special:
            return special(modifiers, types, of)
        ptx = types[-1]
        a = lambda i, other=None: self.value(of[i], other or ptx)
        c = c_type(ptx)
        if name in ("add", "sub", "mul", "mad", "fma", "div", "addc", "subc", "madc"):
            return self.arithmetic(name, modifiers, ptx, of)
        assert not ptx.endswith("x2"), "pairs"
        if name in OF_ONE or name in ("neg", "abs"):
            return self.put(of[0], f"{name}_<{c}>({a(1)})")
        if name in ("min", "max"):
            if "NaN" in modifiers:
                name = f"nan_or_{name}"
            return self.put(of[0], f"{name}_<{c}>({a(1)}, {a(2)})")
        if name in ("shl", "shr"):
            return self.put(of[0], f"{name}_<{c}>({a(1)}, {a(2, 'u32')})")
        if name in ("and", "or", "xor"):
            sign = {"and": "&", "or": "|", "xor": "^"}[name]
            return self.put(of[0], f"({c})({a(1)} {sign} {a(2)})")
        if name == "rem":
            return self.put(of[0], f"irem<{c}>({a(1)}, {a(2)})")
        raise ValueError("an instruction")

    def call(self, rest):
        match = re.fullmatch(r"(?:\(\s*([\w$]+)\s*\)\s*,\s*)?([\w$]+)\s*(?:,\s*\(([^)]*)\))?", rest)
        assert match, "a call"
        if match[2] == "__assertfail":
            return 'fail("an assertion does not hold");'
        self.module.called.add(match[2])
        given = [match[1]] if match[1] else []
        given += [name.strip() for name in (match[3] or "").split(",") if name.strip()]
        return f"F_{match[2]}({', '.join('P_' + name for name in given)});"

    def arithmetic(self, name, modifiers, ptx, of):
        c, n_bits = c_type(ptx), 8 * size_of(ptx)
        values = [self.value(operand, ptx) for operand in of[1:]]
        if "wide" in modifiers:
            wide = ptx[0] + str(2 * n_bits)
            product = f"({c_type(wide)}){values[0]} * ({c_type(wide)}){values[1]}"
            added = f" + {self.value(of[3], wide)}" if name == "mad" else ""
            return self.put(of[0], f"({c_type(wide)})({product}{added})")
        if name.endswith("c") or "cc" in modifiers:
            return self.with_carry(name, modifiers, ptx, of[0], values)
        if ptx in FLOATS:
            rounding = next((m for m in modifiers if m in ROUNDINGS), "rn")
            name = "fma" if name == "mad" else name
            result = f"f_{name}<{c}, R_{rounding}>({', '.join(values)})"
            return self.put(of[0], f"saturated({result})" if "sat" in modifiers else result)
        assert "sat" not in modifiers, "saturated integers"
        if ptx.endswith("x2"):
            assert name in ("add", "mul"), "pairs"
            return self.put(of[0], f"pair_{name}<{ptx[:-2]}>({', '.join(values)})")
        if name == "div":
            return self.put(of[0], f"idiv<{c}>({values[0]}, {values[1]})")
        if name in ("mul", "mad"):
            half = "hi" if "hi" in modifiers else "lo"
            result = f"mul_{half}<{c}>({values[0]}, {values[1]})"
            if name == "mad":
                result = f"wrap_add<{c}>({result}, {values[2]})"
            return self.put(of[0], result)
        return self.put(of[0], f"wrap_{name}<{c}>({values[0]}, {values[1]})")

    def with_carry(self, name, modifiers, ptx, target, values):
        assert ptx[0] == "u" or ptx[0] == "b", "a sign with a carry"
        c, n_bits = c_type(ptx), 8 * size_of(ptx)
        wide = "uint64_t" if n_bits == 32 else "unsigned __int128"
        carried = "carry" if name.endswith("c") else "0"
        if name.startswith("mad"):
            product = f"(({wide}){values[0]} * {values[1]})"
            half = f"({product} >> {n_bits})" if "hi" in modifiers else f"({wide})({c}){product}"
            result = f"{half} + {values[2]} + {carried}"
        else:
            sign = "-" if name.startswith("sub") else "+"
            result = f"({wide}){values[0]} {sign} {values[1]} {sign} {carried}"
        kept = f"carry = (wide >> {n_bits}) & 1;" if "cc" in modifiers else ""
        return f"{{ {wide} wide = {result}; {kept} {self.put(target, f'({c})wide')} }}"

    def do_ld(self, modifiers, types, of):
        ptx, targets = types[-1], parts(of[0])
        begin, n_bytes = self.address(of[1], space_of(modifiers)), size_of(types[-1])
        # A target may be the base of the address.
        loads = [
            self.put(target, f"at<{c_type(ptx)}>(begin + {i * n_bytes})")
            for i, target in enumerate(targets)
        ]
        checked = f"check_aligned(begin, {n_bytes * len(targets)});"
        return f"{{ uint64_t begin = {begin}; {checked} {' '.join(loads)} }}"

    def do_st(self, modifiers, types, of):
        ptx, sources = types[-1], parts(of[1])
        begin, n_bytes = self.address(of[0], space_of(modifiers)), size_of(types[-1])
        stores = [
            f"at<{c_type(ptx)}>(begin + {i * n_bytes}) = {self.value(source, ptx)};"
            for i, source in enumerate(sources)
        ]
        checked = f"check_aligned(begin, {n_bytes * len(sources)});"
        return f"{{ uint64_t begin = {begin}; {checked} {' '.join(stores)} }}"

    def do_cvta(self, modifiers, types, of):
        value = self.value(of[1], types[-1])
        if "shared" in modifiers:
            value += " - grid.shared" if "to" in modifiers else " + grid.shared"
        return self.put(of[0], f"({c_type(types[-1])})({value})")

    def do_mov(self, _, types, of):
        ptx, c = types[-1], c_type(types[-1])
        targets, sources = parts(of[0]), parts(of[1])
        if len(targets) > 1:
            n_bits = 8 * size_of(ptx) // len(targets)
            puts = [
                self.put(target, f"(uint{n_bits}_t)(whole >> {n_bits * i})")
                for i, target in enumerate(targets)
            ]
            return f"{{ {c} whole = {self.value(of[1], ptx)}; {' '.join(puts)} }}"
        if len(sources) > 1:
            n_bits = 8 * size_of(ptx) // len(sources)
            pieces = [
                f"({c}){self.value(source, f'b{n_bits}')} << {n_bits * i}"
                for i, source in enumerate(sources)
            ]
            return self.put(of[0], f"({c})({' | '.join(pieces)})")
        return self.put(of[0], self.value(of[1], ptx))

    def do_cvt(self, modifiers, types, of):
        to, source = types[-2], types[-1]
        if to.endswith("x2"):
            high, low = (f"as<uint16_t>(({to[:-2]}){self.value(v, 'f32')})" for v in of[1:])
            return self.put(of[0], f"(uint32_t){high} << 16 | {low}")
        rounding = next((m for m in modifiers if m in ROUNDINGS), "rn")
        assert size_of(to) > 2 or to not in FLOATS or rounding == "rn", "a rounding of halves"
        sat = "true" if "sat" in modifiers else "false"
        how = f"{c_type(to)}, {c_type(source)}, R_{rounding}, {sat}"
        return self.put(of[0], f"cvt<{how}>({self.value(of[1], source)})")

    def comparison(self, modifiers, ptx, of):
        assert not ptx.endswith("x2"), "pairs"
        return (
            f"cmp_{modifiers[0]}<{c_type(ptx)}>({self.value(of[1], ptx)}, {self.value(of[2], ptx)})"
        )

    def do_setp(self, modifiers, types, of):
        found = self.comparison(modifiers, types[-1], of)
        joined = next((m for m in modifiers if m in ("and", "or", "xor")), None)
        after = ""
        if joined:
            sign = {"and": "&&", "or": "||", "xor": "!="}[joined]
            after = f" {sign} {self.value(of[3], 'pred')}"
        targets = of[0].split("|")
        puts = [
            self.put(target, f"{answer}{after}") for target, answer in zip(targets, ("yes", "!yes"))
        ]
        return f"{{ bool yes = {found}; {' '.join(puts)} }}"

    def do_set(self, modifiers, types, of):
        to = types[-2]
        true = f"({c_type(to)}){'1.0f' if to in FLOATS else '-1'}"
        false = f"({c_type(to)}){'0.0f' if to in FLOATS else '0'}"
        return self.put(of[0], f"{self.comparison(modifiers, types[-1], of)} ? {true} : {false}")

    def do_selp(self, _, types, of):
        yes, no = (self.value(operand, types[-1]) for operand in of[1:3])
        return self.put(of[0], f"{self.value(of[3], 'pred')} ? {yes} : {no}")

    def do_not(self, _, types, of):
        sign = "!" if types[-1] == "pred" else "~"
        return self.put(of[0], f"({c_type(types[-1])}){sign}{self.value(of[1], types[-1])}")

    def do_copysign(self, _, types, of):
        sign, magnitude = (self.value(operand, types[-1]) for operand in of[1:])
        return self.put(of[0], f"({c_type(types[-1])})std::copysign({magnitude}, {sign})")

    def do_prmt(self, _, __, of):
        return self.put(of[0], f"prmt_({', '.join(self.value(v, 'b32') for v in of[1:])})")

    def do_dp4a(self, _, types, of):
        a, b = (self.value(operand, "b32") for operand in of[1:3])
        signs = ", ".join(c_type(ptx) for ptx in types)
        return self.put(of[0], f"dp4a_<{signs}>({a}, {b}, {self.value(of[3], 's32')})")

    def do_bfi(self, _, types, of):
        a, b = (self.value(operand, types[-1]) for operand in of[1:3])
        place, n = (self.value(operand, "u32") for operand in of[3:])
        return self.put(of[0], f"bfi_<{c_type(types[-1])}>({a}, {b}, {place}, {n})")

    def do_bar(self, modifiers, _, of):
        assert "sync" in modifiers, "a barrier that nobody waits for"
        if "warp" in modifiers:
            return "wait_for_warp();"
        assert of == ["0"], "a barrier of a part of the block"
        return "wait_for_block();"

    do_barrier = do_bar

    def do_shfl(self, modifiers, _, of):
        targets = of[0].split("|")
        value, by, clamp = (self.value(operand, "b32") for operand in of[1:4])
        puts = [self.put(target, name) for target, name in zip(targets, ("word", "is_inside"))]
        found = f"uint32_t word = shfl_{modifiers[1]}({value}, {by}, {clamp}, is_inside);"
        return f"{{ bool is_inside; {found} {' '.join(puts)} }}"

    def do_atom(self, modifiers, types, of):
        assert "add" in modifiers and not types[-1].endswith("x2"), "what is done at once"
        address = self.address(of[1], space_of(modifiers))
        return self.put(
            of[0], f"atom_add<{c_type(types[-1])}>({address}, {self.value(of[2], types[-1])})"
        )

    def do_cp(self, modifiers, _, of):
        assert modifiers[0] == "async", "a copy"
        if "commit_group" in modifiers:
            return "end_group();"
        if "wait_group" in modifiers:
            return f"wait_but_for({self.value(of[0], 'u32')});"
        to, source = self.address(of[0], "shared"), self.address(of[1], "global")
        n_there = self.value(of[3] if len(of) > 3 else of[2], "u32")
        return f"begin_copy({to}, {source}, {of[2]}, {n_there});"

    def do_ldmatrix(self, modifiers, _, of):
        targets = parts(of[0])
        assert modifiers[2] == "m8n8", "a shape"
        puts = [self.put(target, f"words[{i}]") for i, target in enumerate(targets)]
        how = f"{len(targets)}, {'true' if 'trans' in modifiers else 'false'}"
        found = f"ldmatrix_<{how}>(words, {self.address(of[1], 'shared')});"
        return f"{{ uint32_t words[{len(targets)}]; {found} {' '.join(puts)} }}"

    def do_mma(self, modifiers, types, of):
        assert "m16n8k16" in modifiers and types[0] == types[3] == "f32", "a shape"
        targets, a, b, sums = (parts(operand) for operand in of)
        words = ", ".join(self.value(operand, "b32") for operand in a + b)
        before = ", ".join(self.value(operand, "f32") for operand in sums)
        puts = [self.put(target, f"sums[{i}]") for i, target in enumerate(targets)]
        return (
            f"{{ float sums[4] = {{{before}}}; uint32_t words[6] = {{{words}}}; "
            f"mma_16816<{c_type(types[1])}>(sums, words); {' '.join(puts)} }}"
        )

    def code(self):
        """The C++ of it."""
        if self.is_kernel:
            head = f"static void K_{self.name}(void** arguments) {{"
            begin = [
                f"char* P_{name} = (char*)arguments[{i}]; (void)P_{name};"
                for i, (name, _) in enumerate(self.parameters)
            ]
        else:
            head, begin = self.declaration() + " {", []
        used = set(re.findall(r"R_\w+", "\n".join(self.lines)))
        for c, names in self.registers:
            names = [name for name in names if name in used]
            if names:
                begin.append(f"{c} {', '.join(names)};")
        return "\n".join([head, *begin, "uint32_t carry = 0; (void)carry;", *self.lines, "}"])

    def declaration(self):
        parameters = ", ".join(f"char* P_{name}" for name, _ in self.parameters)
        return f"static void F_{self.name}({parameters})"


class Module:
    """A file of PTX."""

    def __init__(self, text):
        self.text = without_comments(text)
        self.shared, self.shared_bytes, self.dynamic_shared = {}, 0, set()
        self.called = set()
        outside = self.outside_of_functions()
        shared = r"\.shared\s+\.align\s+(\d+)\s+\.(\w+)\s+([\w$]+)\[(\d*)\]"
        for alignment, ptx, name, length in re.findall(shared, outside):
            if length:
                begin = -(-self.shared_bytes // int(alignment)) * int(alignment)
                self.shared[name] = begin
                self.shared_bytes = begin + size_of(ptx) * int(length)
            else:
                self.dynamic_shared.add(name)

    def outside_of_functions(self):
        found, depth = [], 0
        for part in re.split(r"([{}])", self.text):
            depth += (part == "{") - (part == "}")
            if depth == 0:
                found.append(part)
        return "".join(found)

    def variables(self, code):
        """Those of the file that the code names."""
        variable = (
            r"\.(?:global|const)\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?"
            r"(?:\s*=\s*(\{[^}]*\}|[^;]+))?\s*;"
        )
        for ptx, name, length, values in re.findall(variable, self.text):
            if re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", code):
                # Each kernel has its own copy, which is right for what nobody writes.
                if not values:
                    raise SystemExit(f"variable `{name}` is written, and kernels cannot share it")
                values = values if values.startswith("{") else f"{{{values}}}"
                yield f"alignas(16) static {c_type(ptx)} {name}[{length or 1}] = {values};"

    def text_of(self, pattern):
        """From where a pattern is found to the end of the function there."""
        match = re.search(pattern, self.text)
        if not match:
            raise SystemExit(f"there is no {pattern}")
        begin, depth = self.text.index("{", match.end()), 0
        for brace in re.finditer(r"[{}]", self.text[begin:]):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                return self.text[match.end() : begin + brace.end()]
        raise SystemExit("a function has no end")

    def code_of(self, name):
        kernel = Function(self, name, self.text_of(rf"\.entry\s+{re.escape(name)}\s*(?=\()"), True)
        functions = {}
        while self.called - functions.keys():
            called = min(self.called - functions.keys())
            own = rf"\.func\s*(?=(\([^)]*\)\s*)?{re.escape(called)}\s*\([^)]*\)\s*\{{)"
            functions[called] = Function(self, called, self.text_of(own), False)
        parts_of_code = [function.code() for function in functions.values()] + [kernel.code()]
        waits = kernel.waits or any(function.waits for function in functions.values())
        n_shared = max(f.shared_bytes for f in (kernel, *functions.values()))
        sizes = ", ".join(str(n) for _, n in kernel.parameters) or "0"
        return "\n".join(
            [
                '#include "instructions.h"',
                f"#define BEGIN_OF_DYNAMIC {-(-n_shared // 16) * 16}",
                *self.variables("\n".join(parts_of_code)),
                *(function.declaration() + ";" for function in functions.values()),
                *parts_of_code,
                f'extern "C" const Kernel translated = {{"{name}", K_{name}, '
                f"{len(kernel.parameters)}, {n_shared}, {str(waits).lower()}, {{{sizes}}}}};",
            ]
        )


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(Module(file.read()).code_of(sys.argv[2]))
