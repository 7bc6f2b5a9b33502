//! Intermediate results as a table.

use crate::console::Console;
use metal_attention::{DeviceKind, Model, Prompt, TapSummary};

/// The variable that asks for the results of the first token that a GPU decodes.
const GPU_DEBUG_VARIABLE: &str = "GPU_DEBUG";

/// A line of names for [`line`].
pub(super) fn header() -> String {
    format!(
        "{:<26} {:>9} {:>11} {:>11} {:>11} {:>5} {:>9}  first values",
        "result", "shape", "min", "max", "mean", "NaN", "distance"
    )
}

/// A result in a line, with its distance from what it should be where that is known.
pub(super) fn line(summary: &TapSummary, distance: Option<f64>) -> String {
    let TapSummary { name, min, max, mean, n_nan, .. } = summary;
    let shape = format!("[{}]", summary.len);
    let distance = distance.map_or("-".to_owned(), |distance| format!("{distance:.1e}"));
    let first: Vec<String> = summary.first.iter().map(|value| format!("{value:.4e}")).collect();
    let first = first.join(", ");
    format!("{name:<26} {shape:>9} {min:>11.4e} {max:>11.4e} {mean:>11.4e} {n_nan:>5} {distance:>9}  {first}")
}

/// Where the user has set the variable, and the model is on a GPU: says what comes about in the first token after `prompt`. No
/// failure here is one of the command.
pub(super) fn debug_gpu<'p>(model: &mut Model, prompt: impl Into<Prompt<'p>>, console: &Console) {
    let wanted = std::env::var_os(GPU_DEBUG_VARIABLE).is_some_and(|value| value == "1");
    if !wanted || model.device().kind != DeviceKind::Gpu {
        return;
    }
    match model.session().trace(prompt) {
        Ok(taps) => {
            console.answer(header());
            taps.iter().for_each(|summary| console.answer(line(summary, None)));
        }
        Err(error) => console.note(format_args!("{GPU_DEBUG_VARIABLE}: {error}")),
    }
}
