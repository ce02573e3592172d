//! Kleene's three-valued logic: what follows when some of it is not known.

use std::ops::Not;

/// A truth value. The order makes *and* the minimum and *or* the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Truth {
    /// It is not so.
    False,
    /// Nothing that is known decides it.
    Unknown,
    /// It is so.
    True,
}

impl Truth {
    /// Both.
    pub fn and(self, other: Self) -> Self {
        self.min(other)
    }

    /// One at least.
    pub fn or(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Not for Truth {
    type Output = Self;
    fn not(self) -> Self {
        match self {
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
            Truth::True => Truth::False,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Truth::True } else { Truth::False }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Truth; 3] = [Truth::False, Truth::Unknown, Truth::True];

    /// The classical values that a truth value stands for.
    fn worlds(truth: Truth) -> &'static [bool] {
        match truth {
            Truth::False => &[false],
            Truth::Unknown => &[false, true],
            Truth::True => &[true],
        }
    }

    #[test]
    fn a_known_answer_holds_in_every_world() {
        for a in ALL {
            assert_eq!(!!a, a);
            for b in ALL {
                let all = |of: fn(bool, bool) -> bool| {
                    let values =
                        worlds(a).iter().flat_map(|a| worlds(b).iter().map(|b| of(*a, *b)));
                    let values: Vec<bool> = values.collect();
                    match values.iter().all(|v| *v == values[0]) {
                        true => Truth::from(values[0]),
                        false => Truth::Unknown,
                    }
                };
                assert_eq!(a.and(b), all(|a, b| a && b), "{a:?} and {b:?}");
                assert_eq!(a.or(b), all(|a, b| a || b), "{a:?} or {b:?}");
            }
        }
    }
}
