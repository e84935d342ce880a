//! A line chart as SVG: how many times as fast, by round trip, both axes logarithmic in effect.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Colours that are distinct on white and on black.
const COLOURS: [&str; 5] = ["#2f81f7", "#d29922", "#3fb950", "#db61a2", "#8b6cef"];
/// Names at the right end keep this distance.
const LINE_HEIGHT: f64 = 16.0;

/// A workload: points of (milliseconds, times as fast).
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// Compared with the C client: a solid line with the name at its end.
    pub(crate) points: Vec<(u64, f64)>,
    /// Compared with xargs over C clients: a dashed line of the same colour.
    pub(crate) beside: Vec<(u64, f64)>,
}

/// Where things go.
struct Scale {
    round_trips: Vec<u64>,
    lowest: f64,
    highest: f64,
}

impl Scale {
    fn of(lines: &[Line]) -> Scale {
        let points = || lines.iter().flat_map(|line| line.points.iter().chain(&line.beside));
        let mut round_trips: Vec<u64> = points().map(|(rtt, _)| *rtt).collect();
        round_trips.sort_unstable();
        round_trips.dedup();
        Scale {
            round_trips,
            lowest: points().map(|(_, times)| *times).fold(1.0, f64::min),
            highest: points().map(|(_, times)| *times).fold(2.0, f64::max),
        }
    }

    fn x(&self, rtt: u64) -> f64 {
        let place = self.round_trips.iter().position(|r| *r == rtt).unwrap_or(0) as f64;
        let steps = (self.round_trips.len().max(2) - 1) as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * place / steps
    }

    fn y(&self, times: f64) -> f64 {
        let share = (times / self.lowest).ln() / (self.highest / self.lowest).ln();
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }
}

/// A chart of these workloads.
pub(crate) fn svg(lines: &[Line]) -> String {
    let scale = Scale::of(lines);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Times as fast as the C client, by round trip\">\n\
         <style>text{{font:13px sans-serif;fill:#57606a}}.t{{font-size:15px;font-weight:bold}}\
         .g{{stroke:#8b949e;stroke-opacity:.35}}.d{{stroke-dasharray:5 4;stroke-opacity:.8}}\
         @media (prefers-color-scheme:dark){{text{{fill:#b1bac4}}}}</style>\n\
         <text class=\"t\" x=\"{LEFT}\" y=\"22\">Times as fast as the C client (wall time)</text>\n"
    );
    if lines.iter().any(|line| !line.beside.is_empty()) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"22\" text-anchor=\"end\">dashed: as xargs -P over C clients</text>",
            WIDTH - RIGHT
        );
    }
    axes(&mut svg, &scale);
    let mut ends = Vec::new();
    for (line, colour) in lines.iter().zip(COLOURS) {
        polyline(&mut svg, &scale, &line.beside, colour, "class=\"d\" stroke-width=\"1.5\"");
        polyline(&mut svg, &scale, &line.points, colour, "stroke-width=\"2.5\"");
        for (points, radius, words) in
            [(&line.beside, 2.5, " as xargs"), (&line.points, 3.5, " as the C client")]
        {
            for (rtt, times) in points {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\" fill=\"{colour}\"><title>{}, {rtt} ms: {times:.1}{words}</title></circle>",
                    scale.x(*rtt),
                    scale.y(*times),
                    line.name,
                );
            }
        }
        ends.extend(line.points.last().map(|point| (line.name, colour, *point)));
    }
    names(&mut svg, &scale, ends);
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String, scale: &Scale) {
    for times in [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0] {
        if times > scale.highest * 1.05 || times < scale.lowest * 0.95 {
            continue;
        }
        let y = scale.y(times);
        let _ = writeln!(
            svg,
            "<line class=\"g\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{times}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0
        );
    }
    for rtt in &scale.round_trips {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{rtt} ms</text>",
            scale.x(*rtt),
            HEIGHT - BOTTOM + 22.0
        );
    }
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"{middle:.0}\" y=\"{:.0}\" text-anchor=\"middle\">round trip to the replica; all stores in memory</text>",
        HEIGHT - 8.0
    );
}

fn polyline(svg: &mut String, scale: &Scale, points: &[(u64, f64)], colour: &str, style: &str) {
    if points.is_empty() {
        return;
    }
    let at = |(rtt, times): &(u64, f64)| format!("{:.1},{:.1}", scale.x(*rtt), scale.y(*times));
    let path: Vec<String> = points.iter().map(at).collect();
    let _ = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" {style} points=\"{}\"/>",
        path.join(" ")
    );
}

/// The workloads' names at the ends of their lines, the lowest first, without overlap.
fn names(svg: &mut String, scale: &Scale, mut ends: Vec<(&str, &str, (u64, f64))>) {
    ends.sort_by(|(_, _, (_, a)), (_, _, (_, b))| a.total_cmp(b));
    let mut below = f64::INFINITY;
    for (name, colour, (rtt, times)) in ends {
        let y = (scale.y(times) + 4.0).min(below - LINE_HEIGHT);
        below = y;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{y:.1}\" style=\"fill:{colour}\">{name} {times:.1}</text>",
            scale.x(rtt) + 8.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &'static str, points: &[(u64, f64)], beside: &[(u64, f64)]) -> Line {
        Line { name, points: points.to_vec(), beside: beside.to_vec() }
    }

    #[test]
    fn a_line_for_each_work_and_a_point_for_each_round_trip() {
        let lines = [
            line("all", &[(0, 2.0), (20, 10.0)], &[(0, 0.8), (20, 2.0)]),
            line("idle", &[(0, 3.0), (20, 10.1)], &[]),
        ];
        let svg = svg(&lines);
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (3, 6));
        assert!(svg.contains(">20 ms<") && svg.contains(">dashed: ") && svg.ends_with("</svg>\n"));
        // Slower than the other is below 1, not at it.
        assert!(Scale::of(&lines).y(0.8) > Scale::of(&lines).y(1.0));
        // The two ends are too close for their names.
        let place = |name: &str| -> f64 {
            let (before, _) = svg.split_once(&format!("\">{name} 10.")).unwrap();
            let (_, y) = before.rsplit_once(" y=\"").unwrap();
            y.split('"').next().unwrap().parse().unwrap()
        };
        assert!(place("all") - place("idle") >= LINE_HEIGHT - 0.1);
    }
}
