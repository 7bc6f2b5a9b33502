//! How to generate, as typed: the names and defaults of llama.cpp.

use clap::Args;
use metal_attention::{GenerateOptions, SamplingOptions};

#[derive(Debug, Args)]
#[command(next_help_heading = "Generation")]
pub(crate) struct GenerateArgs {
    /// Tokens to make at most; -1 for no limit but the context
    #[arg(short = 'n', long, visible_alias = "max-tokens", alias = "n-predict", value_name = "N", default_value_t = -1,
          allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    predict: i64,
    /// Seed of the draws; -1 for another one each time
    #[arg(short, long, value_name = "N", default_value_t = -1, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..))]
    seed: i64,
    /// Temperature; 0 always takes the most likely token
    #[arg(long, visible_alias = "temperature", value_name = "T", default_value_t = SamplingOptions::default().temperature)]
    temp: f32,
    /// Choose among so many of the most likely tokens; 0 for all
    #[arg(long, value_name = "N", default_value_t = SamplingOptions::default().top_k, allow_negative_numbers = true)]
    top_k: i32,
    /// Choose among the most likely tokens whose probabilities sum to this; 1 for all
    #[arg(long, value_name = "P", default_value_t = SamplingOptions::default().top_p)]
    top_p: f32,
    /// Choose among tokens at least this share as likely as the most likely one; 0 for all
    #[arg(long, value_name = "P", default_value_t = SamplingOptions::default().min_p)]
    min_p: f32,
    /// Make tokens that came before less likely, by a factor; 1 for off
    #[arg(long, value_name = "X", default_value_t = SamplingOptions::default().repeat_penalty)]
    repeat_penalty: f32,
    /// How many tokens back penalties look; 0 for off, -1 for the whole context
    #[arg(long, value_name = "N", default_value_t = 64, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..))]
    repeat_last_n: i64,
    /// Make tokens that came before less likely, once; 0 for off
    #[arg(long, value_name = "X", default_value_t = SamplingOptions::default().presence_penalty, allow_negative_numbers = true)]
    presence_penalty: f32,
    /// Make tokens that came before less likely, each time; 0 for off
    #[arg(long, value_name = "X", default_value_t = SamplingOptions::default().frequency_penalty, allow_negative_numbers = true)]
    frequency_penalty: f32,
    /// Make one token more or less likely: 15043+1, 15043-1.5, 15043-inf for never; may be repeated
    #[arg(long, value_name = "ID±B", value_parser = logit_bias)]
    logit_bias: Vec<(u32, f32)>,
    /// Go on where the model would end
    #[arg(long)]
    ignore_eos: bool,
    /// Text that ends the generation and is not printed; may be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// What the model is told before the prompt, by its chat template; also -sys
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) system_prompt: Option<String>,
}

impl GenerateArgs {
    /// What the engine is to do; whoever can break it off sets `cancel`.
    pub(crate) fn options(&self) -> GenerateOptions {
        GenerateOptions {
            sampling: SamplingOptions {
                temperature: self.temp,
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
                repeat_penalty: self.repeat_penalty,
                frequency_penalty: self.frequency_penalty,
                presence_penalty: self.presence_penalty,
                repeat_last_n: count(self.repeat_last_n).unwrap_or(usize::MAX),
                logit_bias: self.logit_bias.clone(),
                seed: u64::try_from(self.seed).ok(),
                ..SamplingOptions::default()
            },
            max_tokens: count(self.predict),
            stop: self.stop.clone(),
            ignore_eos: self.ignore_eos,
            cancel: None,
        }
    }
}

/// A count, where -1 stands for none.
pub(crate) fn count(n: i64) -> Option<usize> {
    usize::try_from(n).ok()
}

fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let parsed =
        text.find(['+', '-']).and_then(|at| Some((text[..at].parse().ok()?, text[at..].parse().ok()?)));
    parsed.ok_or_else(|| "expected a token's id, a sign and a number, such as 15043+1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logit_bias_is_an_id_and_a_signed_number() {
        assert_eq!(logit_bias("15043+1"), Ok((15043, 1.0)));
        assert_eq!(logit_bias("7-1.5e1"), Ok((7, -15.0)));
        assert_eq!(logit_bias("7-inf"), Ok((7, f32::NEG_INFINITY)));
        for wrong in ["", "7", "+1", "7+", "-1-1", "x+1", "7+-1", "4294967296+1"] {
            assert!(logit_bias(wrong).is_err(), "{wrong}");
        }
    }
}
