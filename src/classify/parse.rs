//! Reading a test as rule files write it: `tpp >= 4800 or (tpp >= 1600 and performance_density >=
//! 5.92)`.
//!
//! ```text
//! test       = term { "and" term } | term { "or" term }
//! term       = "not" term | "(" test ")" | comparison | flag | "unsettled"
//! comparison = sum cmp number | number cmp sum [ cmp number ]
//! sum        = metric { "+" metric }
//! cmp        = ">=" | ">" | "<" | "<="
//! ```
//!
//! *and* and *or* side by side need parentheses: nobody should have to know which binds tighter.
//! Length, depth and number of comparisons are bounded, so that no file can exhaust the stack.

use crate::classify::expression::{Expression, Leaf, UNSETTLED};
use crate::classify::interval::Comparator;
use crate::classify::metric::{Flag, Metric, nearest_word};

/// Bytes of a test at most.
pub const MAX_LENGTH: usize = 2_000;
/// Parentheses and *not*s inside each other at most.
pub const MAX_DEPTH: usize = 16;
/// Metrics of a sum at most.
const MAX_SUM: usize = 4;

/// Reads a test.
///
/// # Errors
/// What is wrong and where, counted in characters from 1.
pub fn parse(text: &str) -> Result<Expression, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!(
            "the test has {} bytes; {MAX_LENGTH} are allowed: split it into paragraphs",
            text.len()
        ));
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0 };
    let expression = parser.test(0)?;
    match parser.peek() {
        Token::End => Ok(expression),
        _ => Err(parser.unexpected("`and`, `or` or the end")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Number(f64),
    Compare(Comparator),
    Plus,
    Open,
    Close,
    End,
}

/// Every token with the character it begins at, counted from 1; the end last.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let begin = at;
        let followed_by_equals = chars.get(at + 1) == Some(&'=');
        let (token, length) = match chars[at] {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '+' => (Token::Plus, 1),
            '>' if followed_by_equals => (Token::Compare(Comparator::AtLeast), 2),
            '<' if followed_by_equals => (Token::Compare(Comparator::AtMost), 2),
            '>' => (Token::Compare(Comparator::Above), 1),
            '<' => (Token::Compare(Comparator::Below), 1),
            '≥' => (Token::Compare(Comparator::AtLeast), 1),
            '≤' => (Token::Compare(Comparator::AtMost), 1),
            c if c.is_ascii_digit() => number(&chars[at..]).map_err(|e| place(begin + 1, &e))?,
            c if c.is_ascii_lowercase() => word(&chars[at..]),
            c => {
                return Err(place(
                    begin + 1,
                    &format!("`{}` means nothing here", c.escape_debug()),
                ));
            }
        };
        tokens.push((begin + 1, token));
        at += length;
    }
    tokens.push((chars.len() + 1, Token::End));
    Ok(tokens)
}

fn place(at: usize, problem: &str) -> String {
    format!("character {at}: {problem}")
}

fn word(chars: &[char]) -> (Token, usize) {
    let is_part = |c: &&char| c.is_ascii_lowercase() || c.is_ascii_digit() || **c == '_';
    let word: String = chars.iter().take_while(is_part).collect();
    let length = word.len();
    (Token::Word(word), length)
}

/// Digits, `_` between them, a point and an exponent.
fn number(chars: &[char]) -> Result<(Token, usize), String> {
    let mut length = 0;
    while let Some(c) = chars.get(length) {
        let after_exponent = length > 0 && matches!(chars[length - 1], 'e' | 'E');
        let is_part = c.is_ascii_alphanumeric()
            || matches!(c, '.' | '_')
            || (after_exponent && matches!(c, '-' | '+'));
        if !is_part {
            break;
        }
        length += 1;
    }
    let text: String = chars[..length].iter().filter(|c| **c != '_').collect();
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((Token::Number(value), length)),
        Ok(_) => Err(format!("{text} is too large a number")),
        Err(_) => Err(format!("`{text}` is not a number")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].1
    }

    fn take(&mut self) {
        // The end is never passed.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    fn here(&self, problem: &str) -> String {
        place(self.tokens[self.next].0, problem)
    }

    fn unexpected(&self, wanted: &str) -> String {
        let found = match self.peek() {
            Token::Word(word) => format!("`{word}`"),
            Token::Number(number) => format!("`{number}`"),
            Token::Compare(comparator) => format!("`{}`", comparator.symbol()),
            Token::Plus => "`+`".into(),
            Token::Open => "`(`".into(),
            Token::Close => "`)`".into(),
            Token::End => "the end".into(),
        };
        self.here(&format!("{wanted} is wanted here, not {found}"))
    }

    fn word_is(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found == word)
    }

    fn test(&mut self, depth: usize) -> Result<Expression, String> {
        if depth > MAX_DEPTH {
            return Err(self.here(&format!("more than {MAX_DEPTH} parentheses inside each other")));
        }
        let first = self.term(depth)?;
        for (word, other) in [("and", "or"), ("or", "and")] {
            if !self.word_is(word) {
                continue;
            }
            let mut parts = vec![first];
            while self.word_is(word) {
                self.take();
                parts.push(self.term(depth)?);
            }
            if self.word_is(other) {
                return Err(self.here("put parentheses where `and` meets `or`"));
            }
            return Ok(match word {
                "and" => Expression::And(parts),
                _ => Expression::Or(parts),
            });
        }
        Ok(first)
    }

    fn term(&mut self, depth: usize) -> Result<Expression, String> {
        match self.peek() {
            Token::Open => {
                self.take();
                let inner = self.test(depth + 1)?;
                if !matches!(self.peek(), Token::Close) {
                    return Err(self.unexpected("`)`"));
                }
                self.take();
                Ok(inner)
            }
            Token::Word(word) if word == "not" => {
                self.take();
                if depth >= MAX_DEPTH {
                    return Err(
                        self.here(&format!("more than {MAX_DEPTH} levels inside each other"))
                    );
                }
                Ok(Expression::Not(Box::new(self.term(depth + 1)?)))
            }
            Token::Word(word) if word != "and" && word != "or" => {
                if word == UNSETTLED {
                    self.take();
                    return Ok(Expression::Leaf(Leaf::Unsettled));
                }
                if let Some(flag) = Flag::from_name(word) {
                    self.take();
                    return Ok(Expression::Leaf(Leaf::Flag(flag)));
                }
                let sum = self.sum()?;
                let comparator = self.comparator()?;
                Ok(comparison(sum, comparator, self.number()?))
            }
            Token::Number(_) => {
                let first = self.number()?;
                let comparator = self.comparator()?.mirrored();
                let sum = self.sum()?;
                let left = comparison(sum.clone(), comparator, first);
                if !matches!(self.peek(), Token::Compare(_)) {
                    return Ok(left);
                }
                let comparator = self.comparator()?;
                let right = comparison(sum, comparator, self.number()?);
                Ok(Expression::And(vec![left, right]))
            }
            _ => Err(self.unexpected("a comparison, a flag, `not` or `(`")),
        }
    }

    fn sum(&mut self) -> Result<Vec<Metric>, String> {
        let mut sum = vec![self.metric()?];
        while matches!(self.peek(), Token::Plus) {
            if sum.len() == MAX_SUM {
                return Err(self.here(&format!("a sum has {MAX_SUM} metrics at most")));
            }
            self.take();
            sum.push(self.metric()?);
        }
        Ok(sum)
    }

    fn metric(&mut self) -> Result<Metric, String> {
        let Token::Word(word) = self.peek() else { return Err(self.unexpected("a metric")) };
        let Some(metric) = Metric::from_name(word) else {
            let hint = match (Flag::from_name(word), nearest_word(word)) {
                (Some(_), _) => ", it is a flag and stands alone".to_owned(),
                (None, Some(near)) => format!("; did you mean `{near}`?"),
                (None, None) => String::new(),
            };
            return Err(self.here(&format!("`{word}` is not a metric{hint}")));
        };
        self.take();
        Ok(metric)
    }

    fn comparator(&mut self) -> Result<Comparator, String> {
        let Token::Compare(comparator) = *self.peek() else {
            return Err(self.unexpected("`>=`, `>`, `<` or `<=`"));
        };
        self.take();
        Ok(comparator)
    }

    fn number(&mut self) -> Result<f64, String> {
        let Token::Number(number) = *self.peek() else { return Err(self.unexpected("a number")) };
        self.take();
        Ok(number)
    }
}

fn comparison(sum: Vec<Metric>, comparator: Comparator, threshold: f64) -> Expression {
    Expression::Leaf(Leaf::Comparison { sum, comparator, threshold })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tests_are_read_as_they_are_meant() {
        for (text, canonical) in [
            ("tpp >= 4800", "tpp >= 4800"),
            ("tpp ≥ 4_800", "tpp >= 4800"),
            ("not datacenter and tpp < 4800", "not datacenter and tpp < 4800"),
            (
                "tpp >= 4800 or (tpp >= 1600 and performance_density >= 5.92)",
                "tpp >= 4800 or (tpp >= 1600 and performance_density >= 5.92)",
            ),
            ("2400 <= tpp < 4800", "tpp >= 2400 and tpp < 4800"),
            (
                "(14000 < tpp < 17500) and 4500 < dram_bandwidth",
                "(tpp > 14000 and tpp < 17500) and dram_bandwidth > 4500",
            ),
            ("dram_bandwidth + io_bandwidth >= 1700", "dram_bandwidth + io_bandwidth >= 1700"),
            ("not (tpp < 1e26)", "not (tpp < 1e26)"),
            ("not not has_hbm", "not (not has_hbm)"),
            ("not unsettled or tpp > 1", "not unsettled or tpp > 1"),
        ] {
            let read = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(read.to_string(), canonical);
            assert_eq!(parse(canonical).as_ref(), Ok(&read), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        let deep = format!("{}tpp > 1{}", "(".repeat(40), ")".repeat(40));
        let nots = format!("{}datacenter", "not ".repeat(40));
        let long = format!("tpp > 1{}", " and tpp > 1".repeat(400));
        for (text, words) in [
            ("", "character 1: a comparison, a flag, `not` or `(` is wanted here, not the end"),
            ("tpp", "character 4: `>=`, `>`, `<` or `<=` is wanted here, not the end"),
            ("tpp >= ", "a number is wanted here, not the end"),
            ("tpp >= -1", "character 8: `-` means nothing here"),
            ("tpp >= 1e999", "too large a number"),
            ("tpp >= 12abc", "`12abc` is not a number"),
            ("tpp >= 1.2.3", "`1.2.3` is not a number"),
            ("tppp >= 1", "character 1: `tppp` is not a metric; did you mean `tpp`?"),
            ("tpp + datacenter > 1", "`datacenter` is not a metric, it is a flag"),
            ("tpp > 1 and tpp > 2 or tpp > 3", "character 21: put parentheses where"),
            ("tpp > 1 or tpp > 2 and tpp > 3", "put parentheses where"),
            ("(tpp > 1", "`)` is wanted here, not the end"),
            ("(tpp > 1 tpp", "`)` is wanted here, not `tpp`"),
            ("tpp > 1)", "`and`, `or` or the end is wanted here, not `)`"),
            ("tpp = 1", "`=` means nothing here"),
            ("tpp > 1 and", "is wanted here, not the end"),
            ("and", "not `and`"),
            ("datacenter > 1", "`and`, `or` or the end is wanted here, not `>`"),
            ("TPP > 1", "`T` means nothing here"),
            ("tpp > 1\u{1b}[31m", "`\\u{1b}` means nothing here"),
            (&deep, "more than 16"),
            (&nots, "more than 16"),
            (&long, "split it into paragraphs"),
            ("tpp + tpp + tpp + tpp + tpp > 1", "a sum has 4 metrics at most"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }

    fn leaf() -> impl Strategy<Value = Expression> {
        let metric = proptest::sample::select(Metric::ALL.to_vec());
        let comparator = proptest::sample::select(vec![
            Comparator::AtLeast,
            Comparator::Above,
            Comparator::Below,
            Comparator::AtMost,
        ]);
        let threshold = prop_oneof![0.0..1e5_f64, 0.0..1e30_f64, 0.0..1e-12_f64];
        let comparison = (proptest::collection::vec(metric, 1..=MAX_SUM), comparator, threshold)
            .prop_map(|(sum, comparator, threshold)| {
                Expression::Leaf(Leaf::Comparison { sum, comparator, threshold })
            });
        let flag = proptest::sample::select(Flag::ALL.to_vec());
        prop_oneof![
            comparison,
            flag.prop_map(|flag| Expression::Leaf(Leaf::Flag(flag))),
            Just(Expression::Leaf(Leaf::Unsettled)),
        ]
    }

    fn expression() -> impl Strategy<Value = Expression> {
        leaf().prop_recursive(4, 24, 3, |inner| {
            let list = || proptest::collection::vec(inner.clone(), 2..4);
            prop_oneof![
                list().prop_map(Expression::And),
                list().prop_map(Expression::Or),
                inner.clone().prop_map(|one| Expression::Not(Box::new(one))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(expression in expression()) {
            let text = expression.to_string();
            prop_assume!(text.len() <= MAX_LENGTH);
            prop_assert_eq!(parse(&text), Ok(expression), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn words_in_any_order_are_read_or_refused(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "tpp", "io_bandwidth", "datacenter", "and", "or", "not", "(", ")", ">=", "<",
                    "+", "1600", "5.92", "2_400",
                ]),
                0..40,
            ),
        ) {
            if let Ok(read) = parse(&words.join(" ")) {
                prop_assert_eq!(parse(&read.to_string()), Ok(read));
            }
        }
    }
}
