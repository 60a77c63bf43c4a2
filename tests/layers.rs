//! The layer table of the design, and the test that every name in `src` points down.
//!
//! A new edge is one commit that changes the table here and in `docs/architecture.md`.

mod source;

use source::{Token, files_under, read, tokens};
use std::fmt::Write as _;
use std::path::Path;

/// Each layer and what it may name: whole layers, or one module of a layer.
const LAYERS: [(&str, &[&str]); 8] = [
    ("memory", &[]),
    ("ledger", &["memory"]),
    ("capture", &["memory", "ledger"]),
    ("detect", &["memory", "ledger"]),
    ("tracker", &["memory", "ledger", "capture", "detect"]),
    (
        "report",
        &["memory", "ledger", "capture", "detect", "tracker"],
    ),
    (
        "intercept",
        &["memory", "ledger", "capture", "detect::finding", "tracker"],
    ),
    (
        "ffi",
        &[
            "memory",
            "ledger",
            "capture",
            "detect",
            "tracker",
            "report",
            "intercept",
        ],
    ),
];

/// Beyond this many lines a file has a second noun.
const FILE_LINE_MAX: usize = 500;

/// One mention of a module of the crate: the path, from the crate's root, and the line.
type Mention = (Vec<String>, usize);

#[test]
fn every_name_points_down() {
    let mut complaints = String::new();
    for file in files_under("src", "rs") {
        let module = module_path(&file);
        let Some(layer) = module.first() else {
            continue;
        };
        for (path, line) in mentions(&tokens(&read(&file)), &module) {
            if !is_allowed(layer, &path) {
                let named = path.join("::");
                let _ = writeln!(complaints, "{}:{line}: {layer} -> {named}", file.display());
            }
        }
    }
    assert!(
        complaints.is_empty(),
        "names that do not point down (the table is in tests/layers.rs):\n{complaints}"
    );
}

#[test]
fn every_folder_is_a_layer() {
    for file in files_under("src", "rs") {
        let module = module_path(&file);
        let known = module.first().is_none_or(|layer| allowed(layer).is_some());
        assert!(
            known,
            "{} belongs to no layer of tests/layers.rs",
            file.display()
        );
    }
}

#[test]
fn the_architecture_document_has_the_same_table() {
    let document = read("docs/architecture.md");
    for (layer, may_name) in LAYERS {
        let names = if may_name.is_empty() {
            "nothing of ours".to_owned()
        } else {
            may_name.join(", ")
        };
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| `{layer}` |")));
        let row =
            row.unwrap_or_else(|| unreachable!("docs/architecture.md has no row for {layer}"));
        assert!(
            row.ends_with(&format!("| {names} |")),
            "docs/architecture.md says of {layer}: {row}\ntests/layers.rs says: {names}"
        );
    }
}

#[test]
fn no_file_is_long_enough_for_a_second_noun() {
    let mut files = vec![Path::new("build.rs").to_path_buf()];
    for (folder, extension) in [
        ("src", "rs"),
        ("tests", "rs"),
        ("benches", "rs"),
        ("python", "py"),
        ("tests", "py"),
        ("examples", "py"),
        ("scripts", "py"),
    ] {
        files.extend(files_under(folder, extension));
    }
    for file in files {
        let line_count = read(&file).lines().count();
        assert!(
            line_count <= FILE_LINE_MAX,
            "{} has {line_count} lines, more than {FILE_LINE_MAX}: look for the second noun",
            file.display()
        );
    }
}

fn allowed(layer: &str) -> Option<&'static [&'static str]> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == layer)
        .map(|(_, may_name)| *may_name)
}

/// Whether `layer` may name `path`. A path of one name is a layer, so `capture::foreign` does not
/// allow `capture`.
fn is_allowed(layer: &str, path: &[String]) -> bool {
    let own = path.first().is_none_or(|first| first == layer);
    own || allowed(layer).unwrap_or_default().iter().any(|edge| {
        edge.split("::")
            .enumerate()
            .all(|(depth, name)| path.get(depth).is_some_and(|it| it == name))
    })
}

/// `src/ledger/record.rs` is `[ledger, record]`, `src/ledger/mod.rs` is `[ledger]`.
fn module_path(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix("src").unwrap_or(file).with_extension("");
    let names = inside
        .iter()
        .map(|name| name.to_string_lossy().into_owned());
    names
        .filter(|name| !matches!(name.as_str(), "mod" | "lib"))
        .collect()
}

/// Every path that begins with `crate` or `super`, resolved against the module it stands in.
fn mentions(tokens: &[Token], file_module: &[String]) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut module = file_module.to_vec();
    let mut inline_depths = Vec::new();
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        let before = |back: usize| index.checked_sub(back).map(|at| tokens[at].text.as_str());
        match token.text.as_str() {
            "{" => {
                depth += 1;
                if before(2) == Some("mod") {
                    module.push(tokens[index - 1].text.clone());
                    inline_depths.push(depth);
                }
            }
            "}" => {
                if inline_depths.last() == Some(&depth) {
                    inline_depths.pop();
                    module.pop();
                }
                depth = depth.saturating_sub(1);
            }
            "crate" if before(1) != Some("(") => found.extend(resolve(&tokens[index..], &module)),
            "super" if before(1) != Some("(") && before(1) != Some(":") => {
                found.extend(resolve(&tokens[index..], &module));
            }
            _ => {}
        }
    }
    found
}

/// The paths that start at the first token; `crate::{a, b::c}` gives two.
fn resolve(tokens: &[Token], module: &[String]) -> Vec<Mention> {
    let mut base = if tokens[0].text == "crate" {
        Vec::new()
    } else {
        parent(module)
    };
    let mut at = 1;
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    while word(at) == ":" && word(at + 1) == ":" && word(at + 2) == "super" {
        base = parent(&base);
        at += 3;
    }
    if !(word(at) == ":" && word(at + 1) == ":") {
        return Vec::new();
    }
    read_tree(tokens, &mut (at + 2), &base)
}

fn parent(module: &[String]) -> Vec<String> {
    module[..module.len().saturating_sub(1)].to_vec()
}

/// Reads `a::b`, `a::{b, c::d}` or `*` at `at` and leaves `at` behind it.
fn read_tree(tokens: &[Token], at: &mut usize, base: &[String]) -> Vec<Mention> {
    let mut path = base.to_vec();
    let mut line = 0;
    while let Some(token) = tokens.get(*at) {
        line = token.line;
        *at += 1;
        if token.text == "{" {
            return read_group(tokens, at, &path);
        }
        path.push(token.text.clone());
        let follows = |ahead: usize| tokens.get(*at + ahead).is_some_and(|next| next.text == ":");
        if !(follows(0) && follows(1)) {
            break;
        }
        *at += 2;
    }
    vec![(path, line)]
}

fn read_group(tokens: &[Token], at: &mut usize, base: &[String]) -> Vec<Mention> {
    let mut found = Vec::new();
    while let Some(token) = tokens.get(*at) {
        match token.text.as_str() {
            "}" => {
                *at += 1;
                break;
            }
            "," => *at += 1,
            _ => found.extend(read_tree(tokens, at, base)),
        }
    }
    found
}

#[cfg(test)]
mod self_test {
    use super::{is_allowed, mentions, module_path, tokens};
    use std::path::Path;

    fn named(source: &str, file: &str) -> Vec<String> {
        let found = mentions(&tokens(source), &module_path(Path::new(file)));
        found
            .into_iter()
            .map(|(path, line)| format!("{}@{line}", path.join("::")))
            .collect()
    }

    #[test]
    fn paths_are_resolved_in_every_form() {
        let source = "use crate::memory::Address;\nuse super::record;\nuse crate::{a, b::{c, d}};";
        let expected = [
            "memory::Address@1",
            "ledger::record@2",
            "a@3",
            "b::c@3",
            "b::d@3",
        ];
        assert_eq!(named(source, "src/ledger/book.rs"), expected);
    }

    #[test]
    fn an_inline_module_is_one_level_deeper() {
        let source = "mod tests {\n use super::super::lock;\n use super::*;\n}\nuse super::pages;";
        let expected = ["memory::lock@2", "memory::arena::*@3", "memory::pages@5"];
        assert_eq!(named(source, "src/memory/arena.rs"), expected);
    }

    #[test]
    fn strings_comments_characters_and_visibility_are_no_mentions() {
        let source = "// crate::ffi\n/* super::x */ pub(crate) fn f<'a>() { \"crate::y\"; '{'; \
                      r#\"crate::z\"#; b'\\''; }";
        assert_eq!(named(source, "src/memory/arena.rs"), Vec::<String>::new());
    }

    #[test]
    fn an_edge_to_one_module_does_not_open_its_layer() {
        let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
        assert!(is_allowed("intercept", &path("detect::finding::Finding")));
        assert!(!is_allowed(
            "intercept",
            &path("detect::store::FindingStore")
        ));
        assert!(!is_allowed("memory", &path("ledger::StackId")));
        assert!(is_allowed("memory", &path("memory::Address")));
    }
}
