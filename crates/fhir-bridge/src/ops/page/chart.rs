//! What flows, as a picture: a bar for each minute, to Matrix above the line and to FHIR below it.

use maud::{Markup, html};

use crate::ops::api::status::Flows;

/// The height of the largest bar.
const HIGH: u64 = 70;

/// What the picture shows, in words.
pub(super) fn words(flows: &Flows) -> String {
    let sum = |one: &[u64]| one.iter().sum::<u64>();
    let (to_matrix, to_fhir) = (sum(&flows.to_matrix), sum(&flows.to_fhir));
    if to_matrix + to_fhir == 0 {
        return "No message was carried over in the last hour.".to_owned();
    }
    let both = flows.to_matrix.iter().zip(&flows.to_fhir);
    let busiest = both.map(|(a, b)| a + b).max().unwrap_or(0);
    let went = if to_matrix == 1 {
        "message went"
    } else {
        "messages went"
    };
    format!(
        "In the last hour {to_matrix} {went} to Matrix and {to_fhir} to FHIR; the busiest minute had {busiest}."
    )
}

pub(super) fn draw(flows: &Flows) -> Markup {
    let most = flows.to_matrix.iter().chain(&flows.to_fhir).max();
    let most = most.copied().unwrap_or(0).max(1);
    // What is there is seen, however little it is.
    let height = |count: u64| match count {
        0 => 0,
        count => (count * HIGH / most).max(2),
    };
    html! {
        svg.chart viewBox="0 0 600 160" preserveAspectRatio="none" role="img" aria-labelledby="flow-words" {
            @for (x, count) in (1..).step_by(10).zip(&flows.to_matrix) {
                @let high = height(*count);
                @if high > 0 { rect.to-matrix x=(x) y=(79 - high) width="8" height=(high) {} }
            }
            line.axis x1="0" y1="80" x2="600" y2="80" {}
            @for (x, count) in (1..).step_by(10).zip(&flows.to_fhir) {
                @let high = height(*count);
                @if high > 0 { rect.to-fhir x=(x) y="81" width="8" height=(high) {} }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_words_and_a_bar_for_what_there_is() {
        let mut flows = Flows {
            since: String::new(),
            to_matrix: vec![0; 60],
            to_fhir: vec![0; 60],
        };
        assert_eq!(
            words(&flows),
            "No message was carried over in the last hour."
        );
        assert!(!draw(&flows).into_string().contains("<rect"));
        flows.to_matrix[0] = 1;
        flows.to_fhir[59] = 1000;
        assert_eq!(
            words(&flows),
            "In the last hour 1 message went to Matrix and 1000 to FHIR; the busiest minute had 1000."
        );
        let svg = draw(&flows).into_string();
        for bar in [
            r#"x="1" y="77" width="8" height="2""#,
            r#"x="591" y="81" width="8" height="70""#,
        ] {
            assert!(svg.contains(bar), "{svg}");
        }
    }
}
