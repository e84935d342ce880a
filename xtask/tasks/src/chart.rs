//! A line chart as SVG: how many times as fast, by round trip, both axes logarithmic in effect.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Colours that can be told apart on white and on black.
const COLOURS: [&str; 4] = ["#2f81f7", "#d29922", "#3fb950", "#db61a2"];

/// A chart of these lines: a name and points of (milliseconds, times as fast).
pub(crate) fn svg(lines: &[(&str, Vec<(u64, f64)>)]) -> String {
    let mut round_trips: Vec<u64> =
        lines.iter().flat_map(|(_, points)| points.iter().map(|(rtt, _)| *rtt)).collect();
    round_trips.sort_unstable();
    round_trips.dedup();
    let highest =
        lines.iter().flat_map(|(_, p)| p.iter().map(|(_, times)| *times)).fold(2.0, f64::max);
    let x = |rtt: u64| {
        let place = round_trips.iter().position(|r| *r == rtt).unwrap_or(0) as f64;
        let steps = (round_trips.len().max(2) - 1) as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * place / steps
    };
    let y = |times: f64| {
        let share = times.max(1.0).ln() / highest.ln();
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Times as fast as the C client, by round trip\">\n\
         <style>text{{font:13px sans-serif;fill:#57606a}}.t{{font-size:15px;font-weight:bold}}\
         .g{{stroke:#8b949e;stroke-opacity:.35}}\
         @media (prefers-color-scheme:dark){{text{{fill:#b1bac4}}}}</style>\n\
         <text class=\"t\" x=\"{LEFT}\" y=\"22\">Times as fast as the C client (wall time)</text>\n"
    );
    for times in [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0] {
        if times > highest * 1.05 {
            continue;
        }
        let _ = writeln!(
            svg,
            "<line class=\"g\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>\
             <text x=\"{2:.0}\" y=\"{3:.1}\" text-anchor=\"end\">{times}</text>",
            WIDTH - RIGHT,
            y(times),
            LEFT - 8.0,
            y(times) + 4.0
        );
    }
    for rtt in &round_trips {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{rtt} ms</text>",
            x(*rtt),
            HEIGHT - BOTTOM + 22.0
        );
    }
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"{middle:.0}\" y=\"{:.0}\" text-anchor=\"middle\">round trip to the replica</text>",
        HEIGHT - 8.0
    );
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        let path: Vec<String> =
            points.iter().map(|(rtt, times)| format!("{:.1},{:.1}", x(*rtt), y(*times))).collect();
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" points=\"{}\"/>",
            path.join(" ")
        );
        for (rtt, times) in points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{name}, {rtt} ms: {times:.1}</title></circle>",
                x(*rtt),
                y(*times)
            );
        }
        if let Some((rtt, times)) = points.last() {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" style=\"fill:{colour}\">{name} {times:.1}</text>",
                x(*rtt) + 8.0,
                y(*times) + 4.0
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_work_and_a_point_for_each_round_trip() {
        let lines = [("all", vec![(0, 2.0), (20, 10.0)]), ("idle", vec![(0, 3.0), (20, 20.0)])];
        let svg = svg(&lines);
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (2, 4));
        assert!(svg.contains(">20 ms<") && svg.ends_with("</svg>\n"));
    }
}
