//! One field of an image: `entries[0].tc.comm=name`, `[*]` for all of a list.

use std::borrow::Cow;

use criu_images::json::{Data, Value, parse};

enum Step<'a> {
    Name(&'a str),
    Index(usize),
    All,
}

/// Sets what an assignment names and tells how many places that were; in words what is wrong with it.
pub(super) fn assign(tree: &mut Value<'static>, assignment: &str) -> Result<u64, String> {
    let (path, value) = assignment.split_once('=').ok_or_else(|| format!("{assignment:?} is not FIELD=VALUE"))?;
    let steps = steps(path)?;
    if !matches!(steps.first(), Some(Step::Name("entries"))) {
        return Err(format!("{path}: a field starts with entries[N]"));
    }
    set(tree, &steps, value, path)
}

fn steps(path: &str) -> Result<Vec<Step<'_>>, String> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if !name.is_empty() {
            steps.push(Step::Name(name));
        }
        while !rest.is_empty() {
            let bad = || format!("{path}: {rest:?} is no [N] and no [*]");
            let (index, after) = rest.strip_prefix('[').and_then(|r| r.split_once(']')).ok_or_else(bad)?;
            steps.push(if index == "*" { Step::All } else { Step::Index(index.parse().map_err(|_| bad())?) });
            rest = after;
        }
    }
    Ok(steps)
}

fn set(at: &mut Value<'static>, steps: &[Step<'_>], text: &str, path: &str) -> Result<u64, String> {
    let Some((step, rest)) = steps.split_first() else {
        at.data = value_of(text, &at.data);
        return Ok(1);
    };
    match (step, &mut at.data) {
        (Step::Name(name), Data::Object(members)) => {
            let at = match members.iter().position(|m| *m.0 == *name.as_bytes()) {
                Some(at) => at,
                None if rest.is_empty() => {
                    members.push((Cow::Owned(name.as_bytes().to_vec()), Value::new(Data::Null)));
                    members.len() - 1
                }
                None => return Err(format!("{path}: there is no {name}")),
            };
            set(&mut members[at].1, rest, text, path)
        }
        (Step::Index(i), Data::List(values)) => {
            let count = values.len();
            let value = values.get_mut(*i).ok_or_else(|| format!("{path}: [{i}] of {count}"))?;
            set(value, rest, text, path)
        }
        (Step::All, Data::List(values)) => values.iter_mut().map(|v| set(v, rest, text, path)).sum(),
        _ => Err(format!("{path}: there is nothing of this form")),
    }
}

/// The value that a text means where this one stands: text stays text, all else is JSON if it can be.
fn value_of(text: &str, old: &Data<'_>) -> Data<'static> {
    let string = || Data::String(Cow::Owned(text.as_bytes().to_vec()));
    match (old, parse(text)) {
        (Data::String(_), Some(Value { data: Data::Null, .. })) => Data::Null,
        (Data::String(_), _) | (_, None) => string(),
        (_, Some(value)) => owned(value).data,
    }
}

fn owned(value: Value<'_>) -> Value<'static> {
    Value::new(match value.data {
        Data::Null => Data::Null,
        Data::Bool(b) => Data::Bool(b),
        // What is not a whole number stays text, and is refused where it does not belong.
        Data::Number(digits) => match Value::new(Data::Number(digits)).integer() {
            Some(number) => Data::Integer(number),
            None => Data::String(Cow::Owned(digits.to_vec())),
        },
        Data::Integer(number) => Data::Integer(number),
        Data::String(text) => Data::String(Cow::Owned(text.into_owned())),
        Data::List(values) => Data::List(values.into_iter().map(owned).collect()),
        Data::Object(members) => {
            Data::Object(members.into_iter().map(|(k, v)| (Cow::Owned(k.into_owned()), owned(v))).collect())
        }
    })
}
