//! Records on stdout, each as soon as it is there.

use super::record::{Record, test_name};
use crate::args::BenchFormat;
use crate::stdout::{Stdout, StdoutError};
use serde_json::{Map, Value};
use std::io;

/// Columns of the table with their widths, the numbers to the right.
const COLUMNS: [(&str, usize, bool); 7] = [
    ("model", 30, false),
    ("size", 10, true),
    ("params", 10, true),
    ("backend", 10, false),
    ("threads", 7, true),
    ("test", 15, true),
    ("t/s", 24, true),
];

pub(crate) struct Printer {
    format: BenchFormat,
    out: Stdout,
    n_records: usize,
}

impl Printer {
    pub(crate) fn new(format: BenchFormat) -> Self {
        Self { format, out: Stdout::new(), n_records: 0 }
    }

    pub(crate) fn header(&mut self) -> Result<(), StdoutError> {
        match self.format {
            BenchFormat::Md => {
                self.out.line(table_line(&COLUMNS.map(|(name, ..)| name.to_owned())))?;
                let rule = |width: usize, right| "-".repeat(width - 1) + if right { ":" } else { "-" };
                self.out.line(table_line(&COLUMNS.map(|(_, width, right)| rule(width, right))))?;
            }
            BenchFormat::Json => self.out.write("[\n")?,
            BenchFormat::Jsonl | BenchFormat::Csv => {}
        }
        self.out.flush()
    }

    pub(crate) fn record(&mut self, record: &Record) -> Result<(), StdoutError> {
        match self.format {
            BenchFormat::Md => self.out.line(table_line(&cells(record)))?,
            BenchFormat::Json => {
                self.out.write(if self.n_records == 0 { "  " } else { ",\n  " })?;
                self.out.write(to_string(record)?)?;
            }
            BenchFormat::Jsonl => self.out.line(to_string(record)?)?,
            BenchFormat::Csv => self.csv(record)?,
        }
        self.n_records += 1;
        self.out.flush()
    }

    pub(crate) fn footer(&mut self) -> Result<(), StdoutError> {
        match self.format {
            BenchFormat::Md => {
                self.out.line(format!("\nbuild: metal-attention {}", env!("CARGO_PKG_VERSION")))?
            }
            BenchFormat::Json => self.out.write("\n]\n")?,
            BenchFormat::Jsonl | BenchFormat::Csv => {}
        }
        self.out.flush()
    }

    /// All values but the samples, with the names before the first.
    fn csv(&mut self, record: &Record) -> Result<(), StdoutError> {
        let fields = fields(record)?;
        let fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_array()).collect();
        let join = |cells: Vec<String>| cells.join(",");
        if self.n_records == 0 {
            self.out.line(join(fields.iter().map(|(name, _)| (*name).clone()).collect()))?;
        }
        self.out.line(join(fields.iter().map(|(_, value)| csv_cell(value)).collect()))
    }
}

fn cells(record: &Record) -> [String; COLUMNS.len()] {
    let (size, n_params) = (record.model_size as f64, record.model_n_params as f64);
    let mebibytes = size / f64::from(1 << 20);
    [
        record.model_type.clone(),
        if mebibytes < 1024.0 {
            format!("{mebibytes:.2} MiB")
        } else {
            format!("{:.2} GiB", mebibytes / 1024.0)
        },
        if n_params < 1e9 { format!("{:.2} M", n_params / 1e6) } else { format!("{:.2} B", n_params / 1e9) },
        record.backends.to_owned(),
        record.n_threads.to_string(),
        test_name(record.test),
        format!("{:.2} ± {:.2}", record.avg_ts, record.stddev_ts),
    ]
}

fn table_line(cells: &[String; COLUMNS.len()]) -> String {
    let padded = cells.iter().zip(COLUMNS).map(|(cell, (_, width, right))| match right {
        true => format!(" {cell:>width$} |"),
        false => format!(" {cell:<width$} |"),
    });
    "|".to_owned() + &padded.collect::<String>()
}

fn to_string(record: &Record) -> Result<String, StdoutError> {
    Ok(serde_json::to_string(record).map_err(io::Error::from)?)
}

fn fields(record: &Record) -> Result<Map<String, Value>, StdoutError> {
    match serde_json::to_value(record).map_err(io::Error::from)? {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

/// Every cell is quoted, and a flag is 0 or 1, as in llama-bench.
fn csv_cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.replace('"', "\"\""),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        other => other.to_string(),
    };
    format!("\"{text}\"")
}
