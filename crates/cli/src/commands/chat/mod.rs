//! `chat`: turn by turn, with the KV cache kept between turns.

mod input;

use super::generation::{Stream, timing_line};
use crate::args::ChatArgs;
use crate::console::Console;
use crate::exit;
use crate::loading;
use crate::prompt;
use crate::signals::{Signal, Signals};
use crate::stdout::{Stdout, StdoutError};
use anyhow::Context;
use input::{Input, Line};
use metal_attention::{ChatError, Conversation, GenerateOptions, Session};
use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
/clear      forget the conversation
/regen      another answer to the last message
/read FILE  put a file's text before the next message
/help       this list
/exit       leave; also Ctrl-D
Ctrl-C ends an answer.";

pub(crate) fn chat(args: &ChatArgs, console: &Console) -> anyhow::Result<ExitCode> {
    let mut model = loading::load(args.model.source()?, &args.load.options()?, console)?;
    // Better told before the first message than after it.
    if model.chat_template().map_err(ChatError::BadTemplate)?.is_none() {
        return Err(ChatError::NoTemplate.into());
    }
    let mut input = Input::new().context("cannot read from the terminal")?;
    let signals = Signals::listen().context("cannot listen for signals")?;
    signals.work_ends();
    if input.is_interactive() {
        console.info("/help lists what can be typed besides messages");
    }
    let mut chat = Chat {
        conversation: Conversation::new(args.generate.system_prompt.as_deref()),
        session: model.session(),
        options: GenerateOptions { cancel: Some(signals.stop()), ..args.generate.options() },
        attached: String::new(),
        out: Stdout::new(),
        show_timings: args.show_timings,
        signals,
        console,
    };
    loop {
        let line = match input.next(console)? {
            Line::Text(line) => line,
            Line::End => return Ok(ExitCode::SUCCESS),
            Line::Interrupted => return Ok(Signal::Interrupt.exit_code()),
        };
        match chat.take(&line) {
            Ok(Turn::Leave) => return Ok(ExitCode::SUCCESS),
            Ok(Turn::Done) => {}
            // Whoever is there to read it can go on; a script cannot.
            Ok(Turn::Stopped(signal)) if signal == Signal::Terminate || !input.is_interactive() => {
                return Ok(signal.exit_code());
            }
            Ok(Turn::Stopped(_)) => {}
            Err(error) if input.is_interactive() && !error.is::<StdoutError>() => exit::say(&error, console),
            Err(error) => return Err(error),
        }
    }
}

struct Chat<'a> {
    conversation: Conversation,
    session: Session<'a>,
    options: GenerateOptions,
    /// Text of files for the next message.
    attached: String,
    out: Stdout,
    show_timings: bool,
    signals: Signals,
    console: &'a Console,
}

/// What came of a line.
enum Turn {
    Done,
    /// A signal ended the answer.
    Stopped(Signal),
    Leave,
}

impl Chat<'_> {
    fn take(&mut self, line: &str) -> anyhow::Result<Turn> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "" => {}
            "/exit" | "/quit" | "/bye" => return Ok(Turn::Leave),
            "/clear" => {
                self.conversation.clear();
                self.session.clear();
                self.attached.clear();
                self.console.info("cleared");
            }
            "/help" | "/?" => self.console.answer(HELP),
            "/read" => self.attach(Path::new(rest.trim()))?,
            "/regen" if self.conversation.retract_answer() => return self.answer(),
            "/regen" => self.console.answer("there is no answer yet"),
            _ if word.starts_with('/') => {
                self.console.answer(format_args!("there is no command {word}; /help lists what there is"));
            }
            _ => {
                let message = std::mem::take(&mut self.attached) + line;
                self.conversation.push(metal_attention::Message::new("user", message));
                return self.answer();
            }
        }
        Ok(Turn::Done)
    }

    fn attach(&mut self, path: &Path) -> anyhow::Result<()> {
        let text = prompt::file(path)?;
        self.console.info(format_args!("{} bytes for the next message", text.len()));
        self.attached += &text;
        self.attached += "\n";
        Ok(())
    }

    /// Answers the messages so far.
    fn answer(&mut self) -> anyhow::Result<Turn> {
        self.signals.work_begins();
        let mut stream = Stream::new(&mut self.out, None);
        let answer =
            self.conversation.answer(&mut self.session, &self.options, &mut |piece| stream.piece(piece));
        let signal = self.signals.work_ends();
        stream.finish()?;
        let generation = answer?;
        if self.show_timings {
            self.console.info(timing_line(&generation));
        }
        Ok(signal.map_or(Turn::Done, Turn::Stopped))
    }
}
