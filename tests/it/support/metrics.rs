//! Reads the Prometheus text format, as much of it as a test asks about.

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// A scrape.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub text: String,
    pub samples: Vec<Sample>,
}

impl Metrics {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(sample).collect(), text: text.to_owned() }
    }

    /// The sum of all samples of `sidegate_<name>` that have at least these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("sidegate_{name}");
        let fits = |sample: &&Sample| {
            labels.iter().all(|(key, value)| sample.labels.iter().any(|(k, v)| k == key && v == value))
        };
        self.samples.iter().filter(|sample| sample.name == name).filter(fits).map(|sample| sample.value).sum()
    }

    /// The names of the families, without what histograms add.
    pub fn families(&self) -> Vec<String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    /// Every label name that samples of `sidegate_<name>` have.
    pub fn label_names(&self, name: &str) -> Vec<String> {
        let name = format!("sidegate_{name}");
        let ours = self.samples.iter().filter(|sample| sample.name == name);
        let mut names: Vec<String> =
            ours.flat_map(|sample| sample.labels.iter().map(|(key, _)| key.clone())).collect();
        names.sort();
        names.dedup();
        names
    }
}

#[track_caller]
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    Sample { name: name.to_owned(), labels: pairs(labels.trim_end_matches('}')), value }
}

fn pairs(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let mut end = rest.len();
        while let Some((position, character)) = characters.next() {
            match character {
                '\\' => {
                    value.extend(characters.next().map(|(_, next)| if next == 'n' { '\n' } else { next }));
                }
                '"' => {
                    end = position + 1;
                    break;
                }
                plain => value.push(plain),
            }
        }
        found.push((name.trim_start_matches([',', ' ']).to_owned(), value));
        text = &rest[end..];
    }
    found
}
