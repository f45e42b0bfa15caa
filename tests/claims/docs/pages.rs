//! What the pages of the documentation show: blocks of code, commands, links.
//!
//! Reads Markdown as far as these pages use it: fenced blocks with a language, and indented ones, which are commands.
//! **Invariant:** no block is overlooked: a language that is not known here fails the tests.

use std::fs;

use harness::root;

/// Languages of blocks that hold no commands.
const OTHER_LANGUAGES: [&str; 4] = ["rust", "toml", "text", "yaml"];

/// A block of code.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The page and the line that the block begins on.
    pub(crate) place: String,
    /// The heading that it stands under, as links name it.
    pub(crate) section: String,
    pub(crate) language: String,
    pub(crate) lines: Vec<String>,
}

impl Block {
    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// A command that a reader may type.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) page: String,
    /// The heading that it stands under, as links name it.
    pub(crate) section: String,
    pub(crate) place: String,
    pub(crate) text: String,
    /// What the page says it prints; `…` stands for anything.
    pub(crate) output: Vec<String>,
}

/// The paths of all pages, relative to the workspace.
pub(crate) fn pages() -> Vec<String> {
    let mut pages = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "guest-sdk/rust/README.md",
    ]
    .map(str::to_owned)
    .to_vec();
    for (folder, name) in [("docs", None), ("examples", Some("README.md"))] {
        let mut found: Vec<String> = fs::read_dir(root().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|entry| match name {
                Some(name) => format!("{folder}/{entry}/{name}"),
                None => format!("{folder}/{entry}"),
            })
            .filter(|page| page.ends_with(".md") && root().join(page).is_file())
            .collect();
        found.sort();
        pages.extend(found);
    }
    pages
}

/// Reads a page.
pub(crate) fn read(page: &str) -> String {
    let text = fs::read_to_string(root().join(page));
    text.unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The blocks of code of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut in_fence, mut in_indent, mut after_blank) = (false, false, true);
    let mut section = String::new();
    for (number, line) in read(page).lines().enumerate() {
        if !in_fence && line.starts_with('#') {
            section = anchor(line);
        }
        let begin = |language: &str| Block {
            section: section.clone(),
            place: format!("{page}:{}", number + 1),
            language: language.to_owned(),
            lines: Vec::new(),
        };
        if let Some(language) = line.strip_prefix("```") {
            in_fence = !in_fence;
            if in_fence {
                blocks.push(begin(language));
            }
        } else if in_fence {
            blocks.last_mut().unwrap().lines.push(line.to_owned());
        } else if let Some(indented) = line
            .strip_prefix("    ")
            .filter(|_| after_blank || in_indent)
        {
            if !in_indent {
                blocks.push(begin("sh"));
            }
            in_indent = true;
            blocks.last_mut().unwrap().lines.push(indented.to_owned());
        } else {
            in_indent = false;
        }
        after_blank = line.is_empty();
    }
    blocks
}

/// The blocks of a page in one language.
pub(crate) fn blocks_in(page: &str, language: &str) -> Vec<Block> {
    let mut blocks = blocks(page);
    blocks.retain(|block| block.language == language);
    blocks
}

/// The commands of a page, in their order.
pub(crate) fn commands(page: &str) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for block in blocks(page) {
        let is_session = block.language == "console";
        if !is_session && block.language != "sh" {
            let known = OTHER_LANGUAGES.contains(&block.language.as_str());
            assert!(known, "{}: a block in {:?}", block.place, block.language);
            continue;
        }
        for line in &block.lines {
            let typed = if is_session {
                line.strip_prefix("$ ")
            } else {
                Some(line.as_str())
            };
            match typed {
                Some(text) => commands.push(Command {
                    page: page.to_owned(),
                    section: block.section.clone(),
                    place: block.place.clone(),
                    text: without_comment(text).to_owned(),
                    output: Vec::new(),
                }),
                None => commands.last_mut().unwrap().output.push(line.clone()),
            }
        }
    }
    commands.retain(|command| !command.text.is_empty());
    commands
}

/// What links call a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = |it: &char| it.is_alphanumeric() || *it == ' ';
    text.chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

fn without_comment(line: &str) -> &str {
    line.split("  #").next().unwrap_or_default().trim()
}

/// The targets of the links of a page that lead to other files.
pub(crate) fn links(page: &str) -> Vec<String> {
    let text = read(page);
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .collect()
}

/// The words in backquotes of a line.
pub(crate) fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}
