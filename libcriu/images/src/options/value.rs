//! Reads the values of options: numbers, sizes, lists, pairs, words out of a set.

/// A number within the type's range.
pub fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("`{text}` is not a number in range"))
}

/// A pid: greater than 0.
pub fn pid(text: &str) -> Result<i32, String> {
    number(text).ok().filter(|&p: &i32| p > 0).ok_or_else(|| format!("`{text}` is not a pid"))
}

/// A descriptor number: 0 or more.
pub fn fd(text: &str) -> Result<i32, String> {
    number(text).ok().filter(|&n: &i32| n >= 0).ok_or_else(|| format!("`{text}` is not a descriptor number"))
}

/// A number of bytes, with K, M or G behind it for powers of 1024.
pub fn size(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a size below 4G; write 4096, 512K, 8M or 1G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err(wrong()),
    };
    let n: u64 = digits.parse().map_err(|_| wrong())?;
    n.checked_mul(1 << shift).and_then(|b| u32::try_from(b).ok()).ok_or_else(wrong)
}

/// One word out of a set.
pub fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(w, _)| *w == text).map(|&(_, v)| v).ok_or_else(|| {
        let all: Vec<&str> = words.iter().map(|&(w, _)| w).collect();
        format!("`{text}` is none of {}", all.join(", "))
    })
}

/// A non-empty text.
pub fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("the value is empty".into()) } else { Ok(text.to_owned()) }
}

/// Two non-empty texts around the first `separator`.
pub fn pair(text: &str, separator: char, shape: &str) -> Result<(String, String), String> {
    match text.split_once(separator) {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok((a.to_owned(), b.to_owned())),
        _ => Err(format!("`{text}` is not of the form {shape}")),
    }
}

/// The parts of a list with commas, none of them empty.
pub fn list(text: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if parts.iter().any(|p| p.is_empty()) { Err(format!("`{text}` has an empty part")) } else { Ok(parts) }
}

/// `--cpu-cap`: a list of capabilities, each added, or taken from all of them with a `^` in front.
pub fn cpu_cap(text: &str) -> Result<u32, String> {
    const FPU: u32 = 1;
    const CPU: u32 = 2;
    const INS: u32 = 4;
    let words = [("none", 0), ("fpu", FPU), ("cpu", CPU), ("ins", INS), ("all", u32::MAX)];
    let mut caps = 0;
    for (i, part) in list(text)?.into_iter().enumerate() {
        match part.strip_prefix('^') {
            Some(name) => {
                if i == 0 {
                    caps = u32::MAX;
                }
                caps &= !word(name, &words)?;
            }
            None => match word(part, &words)? {
                0 => caps = 0,
                bits => caps |= bits,
            },
        }
    }
    Ok(caps)
}

/// The number in `fd[N]`.
pub fn fd_label(text: &str) -> Result<(i32, &str), String> {
    let shape = || format!("`{text}` is not of the form fd[N]:RESOURCE");
    let (number, key) = text.strip_prefix("fd[").and_then(|r| r.split_once("]:")).ok_or_else(shape)?;
    if key.is_empty() {
        return Err(shape());
    }
    Ok((fd(number)?, key))
}
