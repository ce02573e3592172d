# The driver's functions, each as a few instructions that go on to the driver's own once that is
# loaded. They stand in the program, so the linker asks for no libcuda.so.1, and a program built
# with CUDA starts on a machine without a driver and can say so.
#
# `driver NAME` makes one of them. Its slot holds the address to go to, 0 until the first call, and
# the name behind it.
.macro driver name
    .pushsection .data.benchinf_driver, "aw", @progbits
    .balign 8
.Lslot_\name:
    .quad 0
    .asciz "\name"
    .popsection
    .globl \name
    .hidden \name
    .type \name, @function
\name:
    movq .Lslot_\name(%rip), %r11
    testq %r11, %r11
    je 1f
    jmpq *%r11
1:
    leaq .Lslot_\name(%rip), %r11
    jmp .Lbenchinf_driver_first
.endm

.text
# The first call of a function: arguments are kept as they are, in registers and on the stack,
# while `{first_call}` finds out where to go.
.balign 16
.Lbenchinf_driver_first:
    pushq %r11
    pushq %rax
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %r8
    pushq %r9
    subq $136, %rsp
    movups %xmm0, (%rsp)
    movups %xmm1, 16(%rsp)
    movups %xmm2, 32(%rsp)
    movups %xmm3, 48(%rsp)
    movups %xmm4, 64(%rsp)
    movups %xmm5, 80(%rsp)
    movups %xmm6, 96(%rsp)
    movups %xmm7, 112(%rsp)
    movq %r11, %rdi
    callq {first_call}
    movq %rax, %r11
    movups (%rsp), %xmm0
    movups 16(%rsp), %xmm1
    movups 32(%rsp), %xmm2
    movups 48(%rsp), %xmm3
    movups 64(%rsp), %xmm4
    movups 80(%rsp), %xmm5
    movups 96(%rsp), %xmm6
    movups 112(%rsp), %xmm7
    addq $136, %rsp
    popq %r9
    popq %r8
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    popq %rax
    addq $8, %rsp
    jmpq *%r11
