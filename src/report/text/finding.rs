//! One finding: its sentence, its facts, its stacks, its hints.

use super::{Page, stack};
use crate::report::escape::escaped;
use crate::report::group::Group;
use crate::report::message::foreign_name;
use crate::report::model::{Block, Damage, Finding, Frame, Moment};
use crate::report::number::{article, counted, thousands};

const INDENT: usize = 3;
/// Processes named of one finding; the others are counted.
const PID_COUNT_MAX: usize = 8;

/// Writes the finding under its number in the report.
pub(super) fn write(page: &mut Page, number: usize, group: &Group<'_>) {
    let finding = &group.finding;
    write_title(page, number, group);
    for fact in facts(finding, &group.pids) {
        page.line(INDENT, &fact);
    }
    for hint in &finding.hints {
        page.line(INDENT, &format!("hint: {}", escaped(hint)));
    }
    for (title, frames) in sections(finding) {
        page.line(INDENT, &page.paint.strong(&format!("{title}:")));
        stack::write(page, INDENT + 2, frames);
    }
}

/// Writes the finding's sentence alone.
pub(super) fn write_title(page: &mut Page, number: usize, group: &Group<'_>) {
    let finding = &group.finding;
    let message = if finding.message.is_empty() {
        &finding.kind
    } else {
        &finding.message
    };
    let title = format!("{number}. {}", escaped(message));
    page.line(0, &page.paint.alarm(&title));
}

/// What the sentence does not say.
fn facts(finding: &Finding, pids: &[u32]) -> Vec<String> {
    let mut facts = Vec::new();
    if finding.is_leak() {
        facts.extend(finding.growth.filter(|grown| *grown > 0).map(|grown| {
            format!(
                "grew by {} between the measurements",
                counted(grown, "block")
            )
        }));
        facts.extend(example_block(finding));
        facts.extend(owner(finding));
    } else if finding.count > 1 {
        facts.push(format!(
            "{} times; the first is shown",
            thousands(finding.count)
        ));
    }
    facts.extend(finding.block.as_ref().and_then(contents));
    facts.extend(finding.damage.as_ref().map(written));
    if let [first, _, ..] = pids {
        let shown: Vec<String> = pids
            .iter()
            .take(PID_COUNT_MAX)
            .map(u32::to_string)
            .collect();
        let rest = pids.len().saturating_sub(PID_COUNT_MAX);
        let rest = if rest == 0 {
            String::new()
        } else {
            format!(" and {rest} more")
        };
        facts.push(format!(
            "in processes {}{rest}; shown as process {first} saw it",
            shown.join(", ")
        ));
    }
    facts
}

fn example_block(finding: &Finding) -> Option<String> {
    let block = finding.block.as_ref()?;
    let (article, size) = (article(block.size), thousands(block.size));
    let family = match finding.family.as_str() {
        "" => String::new(),
        family => format!(", family {}", escaped(family)),
    };
    let example = if finding.blocks > 1 {
        "for example "
    } else {
        ""
    };
    Some(format!(
        "{example}{article} {size}-byte block at {:#x}{family}",
        block.address
    ))
}

/// What lies in the block, where the report was asked to say so: the bytes, and as letters what is one.
fn contents(block: &Block) -> Option<String> {
    let pairs = pairs(&block.contents);
    let letters: String = pairs
        .iter()
        .map(|pair| match u8::from_str_radix(pair, 16) {
            Ok(byte) if byte.is_ascii_graphic() || byte == b' ' => char::from(byte),
            _ => '.',
        })
        .collect();
    let bytes = escaped(&pairs.join(" ")).into_owned();
    (!pairs.is_empty()).then(|| format!("it begins with {bytes}  |{letters}|"))
}

/// The digits of each byte.
fn pairs(hexadecimal: &str) -> Vec<&str> {
    hexadecimal
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| std::str::from_utf8(pair).ok())
        .collect()
}

/// What was found, and when it was written.
fn written(damage: &Damage) -> String {
    let bytes = pairs(&damage.found);
    let shown = bytes.len() as u64;
    let rest = match (damage.length.saturating_sub(shown), shown) {
        (0, _) => String::new(),
        (1, 0) => "1 byte".to_owned(),
        (rest, 0) => format!("{} bytes", thousands(rest)),
        (rest, _) => format!(" and {} more", thousands(rest)),
    };
    format!(
        "written there: {}{rest}, between {} and {}",
        escaped(&bytes.join(" ")),
        moment(&damage.after),
        moment(&damage.before),
    )
}

fn moment(moment: &Moment) -> String {
    let event = match moment.event.as_str() {
        "allocation" => "the allocation",
        "release" => "the release",
        "resize" => "the resize",
        "check" => "the check",
        "eviction" => "its leaving the quarantine",
        "neighbour" => "a look at the block behind",
        "end" => "the end",
        other => other,
    };
    match moment.place.as_str() {
        "" => escaped(event).into_owned(),
        place => escaped(&format!("{event} {place}")).into_owned(),
    }
}

/// Whose a leaked block of a foreign library is.
fn owner(finding: &Finding) -> Option<String> {
    let called = finding.foreign_function.as_ref()?;
    let name = escaped(&foreign_name(called)).into_owned();
    Some(match (finding.handed_to_python, &finding.kept_by) {
        (true, None) => format!("{name} handed it to Python, which did not release it"),
        (true, Some(_)) => format!("{name} handed it to Python, and the library keeps it too"),
        (false, None) => format!("{name} was not seen to hand it to Python"),
        (false, Some(_)) => format!("{name} was not seen to hand it to Python: it is its own"),
    })
}

/// What stands over the place where an error was detected. Damage is noticed later than it is done, and by
/// chance where other memory comes or goes: such a place would be taken for the culprit.
fn title_of_here(finding: &Finding) -> Option<&'static str> {
    if finding.is_leak() {
        return None;
    }
    let Some(damage) = &finding.damage else {
        return Some("now");
    };
    let is_by_chance = matches!(damage.before.event.as_str(), "eviction" | "neighbour");
    let is_told = !is_by_chance && !finding.stacks.here.is_empty();
    is_told.then_some("noticed")
}

/// The stacks worth a section, the latest event first.
fn sections(finding: &Finding) -> Vec<(String, &[Frame])> {
    let stacks = &finding.stacks;
    let mut sections: Vec<(String, &[Frame])> = Vec::new();
    if let Some(title) = title_of_here(finding) {
        sections.push((title.to_owned(), &stacks.here));
    }
    if !stacks.viewed.is_empty() {
        sections.push(("view made".to_owned(), &stacks.viewed));
    }
    if !stacks.released.is_empty() {
        sections.push(("released".to_owned(), &stacks.released));
    }
    if finding.block.is_some() || !stacks.allocated.is_empty() {
        let by = finding.foreign_function.as_ref();
        let by = by.map_or_else(String::new, |called| {
            format!(" by {}", foreign_name(called))
        });
        sections.push((
            escaped(&format!("allocated{by}")).into_owned(),
            &stacks.allocated,
        ));
    }
    sections
}
