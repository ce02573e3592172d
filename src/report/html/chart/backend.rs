//! A backend of the plotting crate that writes SVG whose look is the page's: every element has a
//! class and no colour, so that one picture serves light and dark.

use std::convert::Infallible;

use maud::html;
use plotters::style::RGBColor;
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    text_anchor,
};

/// Backend units in one unit of the picture: coordinates are integers to the plotting crate, and
/// one decimal is what curves need.
pub(super) const SCALE: i32 = 10;

/// Series that have a look of their own; more begin anew.
pub(in crate::report::html) const N_LOOKS: usize = 8;

/// What a stroke is, said to the plotting crate as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Lines across the plot at ticks.
    Grid,
    /// The plot's edges.
    Edge,
    /// Names of ticks.
    Tick,
    /// A series by its index.
    Series(usize),
    /// A part of a series that the sample does not carry.
    Uncarried(usize),
    /// A limit.
    Limit,
}

impl Ink {
    pub(super) fn color(self) -> RGBColor {
        match self {
            Ink::Grid => RGBColor(0, 0, 0),
            Ink::Edge => RGBColor(0, 1, 0),
            Ink::Tick => RGBColor(0, 2, 0),
            Ink::Limit => RGBColor(0, 3, 0),
            Ink::Series(i) => RGBColor(1, (i % N_LOOKS) as u8, 0),
            Ink::Uncarried(i) => RGBColor(2, (i % N_LOOKS) as u8, 0),
        }
    }

    fn class(color: BackendColor) -> String {
        match color.rgb {
            (0, 0, _) => "grid".into(),
            (0, 1, _) => "edge".into(),
            (0, 3, _) => "limit".into(),
            (1, i, _) => format!("line s{i}"),
            (2, i, _) => format!("line faint s{i}"),
            _ => "tick".into(),
        }
    }
}

/// A length as SVG has it.
pub(super) fn units(backend: i32) -> String {
    let (sign, value) = (if backend < 0 { "-" } else { "" }, backend.unsigned_abs());
    let scale = SCALE.unsigned_abs();
    match value % scale {
        0 => format!("{sign}{}", value / scale),
        tenth => format!("{sign}{}.{tenth}", value / scale),
    }
}

/// Appends elements to a picture.
pub(super) struct Svg<'a> {
    /// The elements so far.
    pub(super) elements: &'a mut String,
    /// Width and height in units.
    pub(super) size: (u32, u32),
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Svg<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        let scale = SCALE.unsigned_abs();
        (self.size.0 * scale, self.size.1 * scale)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, _: BackendCoord, _: BackendColor) -> Drawn {
        // Nothing here is made of pixels.
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, a: BackendCoord, b: BackendCoord, style: &S) -> Drawn {
        self.draw_path([a, b], style)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        if style.color().alpha == 0.0 {
            return Ok(());
        }
        let mut d = String::new();
        for (i, (x, y)) in path.into_iter().enumerate() {
            d += &format!("{}{} {}", if i == 0 { 'M' } else { 'L' }, units(x), units(y));
        }
        let path = html! { path class=(Ink::class(style.color())) d=(d) {} };
        self.elements.push_str(&path.into_string());
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &T,
        (x, y): BackendCoord,
    ) -> Drawn {
        let anchor = match style.anchor().h_pos {
            text_anchor::HPos::Left => "start",
            text_anchor::HPos::Center => "middle",
            text_anchor::HPos::Right => "end",
        };
        // Baselines by hand: engines differ about `dominant-baseline`.
        let dy = match style.anchor().v_pos {
            text_anchor::VPos::Top => ".8em",
            text_anchor::VPos::Center => ".35em",
            text_anchor::VPos::Bottom => "0",
        };
        let class = Ink::class(style.color());
        let text = html! {
            text class=(class) x=(units(x)) y=(units(y)) dy=(dy) text-anchor=(anchor) { (text) }
        };
        self.elements.push_str(&text.into_string());
        Ok(())
    }

    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let em = style.size();
        Ok(((text.chars().count() as f64 * em * 0.56) as u32, em as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_decimal_at_most() {
        let texts = [0, 10, 123, -5, -120, 7].map(units);
        assert_eq!(texts, ["0", "1", "12.3", "-0.5", "-12", "0.7"]);
    }

    #[test]
    fn every_ink_has_a_class_of_its_own() {
        let inks = [Ink::Grid, Ink::Edge, Ink::Tick, Ink::Limit, Ink::Series(3), Ink::Uncarried(3)];
        let class = |ink: &Ink| {
            let RGBColor(r, g, b) = ink.color();
            Ink::class(BackendColor { alpha: 1.0, rgb: (r, g, b) })
        };
        let classes: Vec<String> = inks.iter().map(class).collect();
        assert_eq!(classes, ["grid", "edge", "tick", "limit", "line s3", "line faint s3"]);
        assert_eq!(class(&Ink::Series(N_LOOKS)), "line s0");
    }
}
