//! A chart as an inline SVG in a figure: curves and points over two axes, with a legend, a tooltip
//! on every point, and the same figures as a list for those who cannot hover.

mod axis;
mod backend;

use std::convert::Infallible;

use maud::{Markup, PreEscaped, html};
use plotters::chart::ChartBuilder;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::series::LineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{IntoTextStyle as _, RGBColor, ShapeStyle};

pub(super) use axis::Axis;
pub(super) use backend::N_LOOKS;
use backend::{Ink, SCALE, Svg, units};

/// Points that the list below a chart names.
const MAX_LISTED: usize = 48;

/// Size of text in the picture, in its units.
const TEXT_SIZE: i32 = 12;

/// One point of a series.
#[derive(Clone, Debug, Default)]
pub(super) struct Point {
    /// Value on the x axis.
    pub(super) x: f64,
    /// Value on the y axis.
    pub(super) y: f64,
    /// An interval on the y axis.
    pub(super) interval: Option<(f64, f64)>,
    /// What it is, in a line; a point without one is a part of a curve alone.
    pub(super) tip: Option<String>,
    /// Whether something casts doubt on it.
    pub(super) is_flagged: bool,
}

/// How a series looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A curve; from that point on, the sample does not carry it.
    Curve {
        /// Points that it carries.
        n_carried: usize,
    },
    /// Points joined by straight lines.
    Joined,
    /// Points alone.
    Points,
    /// A limit that others are held against, with its name beside its last point.
    Limit,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Which colour and marker.
    pub(super) look: usize,
    pub(super) kind: Kind,
    pub(super) points: Vec<Point>,
}

/// A picture over two axes.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    /// How to read it.
    pub(super) caption: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    /// Height in units; the width is [`Chart::WIDTH`].
    pub(super) height: u32,
}

/// A point of a series with its place in backend units.
struct Placed<'a> {
    point: &'a Point,
    at: (i32, i32),
    interval: Option<(i32, i32)>,
}

impl Chart {
    /// The width of every chart in units, which are pixels on a wide screen: narrow, so that text
    /// is still read on a phone.
    pub(super) const WIDTH: u32 = 460;
    /// The usual height.
    pub(super) const HEIGHT: u32 = 290;

    /// The figure.
    pub(super) fn figure(&self) -> Markup {
        let named: Vec<&Series> =
            self.series.iter().filter(|s| s.kind != Kind::Limit && !s.name.is_empty()).collect();
        html! {
            figure.chart {
                figcaption {
                    h3 { (self.title) }
                    p { (self.caption) }
                }
                (self.svg())
                @if named.len() > 1 || named.iter().any(|s| !s.name.is_empty()) {
                    ul.legend { @for series in named {
                        li {
                            svg.key viewBox="0 0 24 12" aria-hidden="true" { (key(series)) }
                            span { (series.name) }
                        }
                    } }
                }
                (self.figures())
            }
        }
    }

    /// Every point that has a name, as a list.
    fn figures(&self) -> Markup {
        let tips = || {
            let points = |series: &'_ Series| {
                series.points.iter().filter_map(|p| p.tip.as_ref()).cloned().collect::<Vec<_>>()
            };
            self.series.iter().flat_map(points)
        };
        let n = tips().count();
        html! {
            @if n > 0 {
                details {
                    summary { "Figures" }
                    ul.figures {
                        @for tip in tips().take(MAX_LISTED) { li { (tip) } }
                        @if n > MAX_LISTED { li { "and " (n - MAX_LISTED) " more" } }
                    }
                }
            }
        }
    }

    fn svg(&self) -> Markup {
        let mut elements = String::new();
        let Ok(placed) = self.draw(&mut elements);
        let marks = html! {
            (limit_names(&self.series, &placed))
            @for (series, points) in self.series.iter().zip(&placed) {
                @if series.kind != Kind::Limit { (marks(series, points)) }
            }
            text.axis x="2" y="11" { (self.y.title) }
            text.axis x=(Self::WIDTH - 4) y=(self.height - 3) text-anchor="end" { (self.x.title) }
        };
        html! {
            svg.plot viewBox={ "0 0 " (Self::WIDTH) " " (self.height) } role="img"
                aria-label={ (self.title) ": " (self.y.title) " against " (self.x.title) } {
                (PreEscaped(elements))
                (marks)
            }
        }
    }

    /// Axes and lines; gives the places of all points.
    fn draw(&self, elements: &mut String) -> Result<Vec<Vec<Placed<'_>>>, Infallible> {
        match self.try_draw(elements) {
            Ok(placed) => Ok(placed),
            // Strings take everything, and no font is asked.
            Err(error) => unreachable!("drawing into memory: {error}"),
        }
    }

    fn try_draw(
        &self,
        elements: &mut String,
    ) -> Result<Vec<Vec<Placed<'_>>>, DrawingAreaErrorKind<Infallible>> {
        let root = Svg { elements, size: (Self::WIDTH, self.height) }.into_drawing_area();
        let longest = self.y.ticks.iter().map(|(_, name)| name.chars().count()).max().unwrap_or(1);
        let y_room = (longest as i32 * 7 + 10) * SCALE;
        let mut chart = ChartBuilder::on(&root)
            .margin_top(20 * SCALE)
            .margin_right(14 * SCALE)
            .margin_bottom(14 * SCALE)
            .x_label_area_size(22 * SCALE)
            .y_label_area_size(y_room)
            .build_cartesian_2d(Positions(&self.x), Positions(&self.y))?;
        let name = |axis: &Axis, at: f64| {
            let tick = axis.ticks.iter().find(|(tick, _)| *tick == at);
            tick.map_or_else(String::new, |(_, name)| name.clone())
        };
        let x_name = |at: &f64| name(&self.x, *at);
        let y_name = |at: &f64| name(&self.y, *at);
        let label =
            ("sans-serif", TEXT_SIZE * SCALE).with_color(Ink::Tick.color()).into_text_style(&root);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(stroke(Ink::Grid))
            .axis_style(stroke(Ink::Edge))
            .x_label_style(label.pos(Pos::new(HPos::Center, VPos::Top)))
            .y_label_style(label.pos(Pos::new(HPos::Right, VPos::Center)))
            .x_label_formatter(&x_name)
            .y_label_formatter(&y_name)
            .set_all_tick_mark_size(3 * SCALE)
            .draw()?;
        let mut all = Vec::new();
        for series in &self.series {
            let points: Vec<(f64, f64, &Point)> = series
                .points
                .iter()
                .filter_map(|p| Some((self.x.position(p.x)?, self.y.position(p.y)?, p)))
                .collect();
            let line = |from: usize, to: usize, ink: Ink| {
                let points = points.get(from..to.min(points.len())).unwrap_or_default();
                LineSeries::new(
                    points.iter().map(|(x, y, _)| (*x, *y)).collect::<Vec<_>>(),
                    stroke(ink),
                )
            };
            match series.kind {
                Kind::Curve { n_carried } => {
                    let from = n_carried.saturating_sub(1);
                    chart.draw_series(line(from, points.len(), Ink::Uncarried(series.look)))?;
                    chart.draw_series(line(0, n_carried, Ink::Series(series.look)))?;
                }
                Kind::Joined => {
                    chart.draw_series(line(0, points.len(), Ink::Series(series.look)))?;
                }
                Kind::Limit => {
                    chart.draw_series(line(0, points.len(), Ink::Limit))?;
                }
                Kind::Points => {}
            }
            let placed = points.into_iter().map(|(x, y, point)| {
                let height = |value: f64| {
                    let at = self.y.scale.position(value)?.clamp(self.y.range.0, self.y.range.1);
                    Some(chart.backend_coord(&(x, at)).1)
                };
                let interval =
                    point.interval.and_then(|(low, high)| Some((height(low)?, height(high)?)));
                Placed { point, at: chart.backend_coord(&(x, y)), interval }
            });
            all.push(placed.collect());
        }
        Ok(all)
    }
}

/// An axis as the plotting crate wants it: positions, and ticks at those that have a name.
struct Positions<'a>(&'a Axis);

impl Ranged for Positions<'_> {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, at: &f64, (first, last): (i32, i32)) -> i32 {
        let (low, high) = self.0.range;
        let share = ((at - low) / (high - low)).clamp(0.0, 1.0);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.0.ticks.iter().map(|(at, _)| *at).collect(),
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.0.range.0..self.0.range.1
    }
}

fn stroke(ink: Ink) -> ShapeStyle {
    let color: RGBColor = ink.color();
    ShapeStyle::from(color)
}

/// The names of limits, each beside its last point, and below those that are in its way.
fn limit_names(series: &[Series], placed: &[Vec<Placed>]) -> Markup {
    let limits = series.iter().zip(placed).filter(|(series, _)| series.kind == Kind::Limit);
    let mut names: Vec<(i32, i32, &str)> = limits
        .filter_map(|(series, placed)| Some((placed.last()?.at, series.name.as_str())))
        .map(|((x, y), name)| (x - 4 * SCALE, y - 5 * SCALE, name))
        .collect();
    names.sort_by_key(|(_, y, _)| *y);
    let height = 13 * SCALE;
    let width = |name: &str| name.chars().count() as i32 * 7 * SCALE;
    for i in 0..names.len() {
        let (x, _, name) = names[i];
        let in_way =
            |other: &&(i32, i32, &str)| x - width(name) < other.0 && other.0 - width(other.2) < x;
        let lowest = names[..i].iter().filter(in_way).map(|other| other.1).max();
        // Between two limits that are near to each other there is no room: below both.
        if let Some(lowest) = lowest.filter(|lowest| names[i].1 - lowest < height) {
            names[i].1 = lowest + height + 8 * SCALE;
        }
    }
    html! { @for (x, y, name) in names {
        text.name x=(units(x)) y=(units(y)) text-anchor="end" { (name) }
    } }
}

/// Points with their intervals and tooltips.
fn marks(series: &Series, placed: &[Placed]) -> Markup {
    let look = series.look % N_LOOKS;
    html! {
        @for Placed { point, at, interval } in placed {
            @if let Some(tip) = &point.tip {
                g class={ "mark s" (look) @if point.is_flagged { " flagged" } } {
                    title { (tip) }
                    @if let Some((low, high)) = interval {
                        path.whisker d={ "M" (units(at.0)) " " (units(*low)) "V" (units(*high)) } {}
                    }
                    circle.target cx=(units(at.0)) cy=(units(at.1)) r="9" {}
                    @if point.is_flagged { circle.ring cx=(units(at.0)) cy=(units(at.1)) r="7" {} }
                    path.dot transform={ "translate(" (units(at.0)) " " (units(at.1)) ")" } d=(marker(look)) {}
                }
            }
        }
    }
}

/// What stands beside a name in the legend.
fn key(series: &Series) -> Markup {
    let look = series.look % N_LOOKS;
    html! {
        g class={ "mark s" (look) } {
            @if series.kind != Kind::Points { path class={ "line s" (look) } d="M1 6H23" {} }
            @if !matches!(series.kind, Kind::Curve { .. }) {
                path.dot transform="translate(12 6)" d=(marker(look)) {}
            }
        }
    }
}

/// A shape for each look, so that colour is not all that tells series apart.
fn marker(look: usize) -> &'static str {
    match look % 4 {
        0 => "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z",
        1 => "M-3.5-3.5H3.5V3.5H-3.5Z",
        2 => "M0-4.6L4.4 3.4H-4.4Z",
        _ => "M0-5L5 0L0 5L-5 0Z",
    }
}
