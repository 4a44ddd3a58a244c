//! `bench growth`: what one more of each kind costs when there are few, some and many. A cost that stays the same is linear.

use criu_tests::verdict::Outcome;

use super::Row;
use super::run::Room;

/// Three sizes of one kind: `most`, and a tenth and a third of it.
struct Growth {
    name: &'static str,
    kind: &'static str,
    most: u32,
    /// A limit of this machine.
    limit: Option<Limit>,
}

/// A file of /proc that says how many there can be, and how many of them others use.
struct Limit {
    path: &'static str,
    others: u32,
}

const GROWTH: [Growth; 6] = [
    Growth { name: "threads", kind: "threads", most: 10_000, limit: Some(PIDS) },
    Growth { name: "processes", kind: "processes", most: 2000, limit: Some(PIDS) },
    Growth {
        name: "VMAs",
        kind: "vmas",
        most: 100_000,
        limit: Some(Limit { path: "/proc/sys/vm/max_map_count", others: 500 }),
    },
    Growth { name: "files", kind: "files", most: 10_000, limit: None },
    Growth { name: "fifos", kind: "fifos", most: 100, limit: None },
    Growth { name: "epoll registrations", kind: "epoll", most: 1000, limit: None },
];

const PIDS: Limit = Limit { path: "/proc/sys/kernel/pid_max", others: 2000 };
/// Few enough that all of it takes less than a minute.
const REPEATS: usize = 3;

/// One line of the table: its size, and microseconds for each of dump and restore.
struct Line {
    count: u32,
    dump_us: f64,
    restore_us: f64,
}

impl Growth {
    /// The size, and what was said about a limit.
    fn most(&self) -> (u32, String) {
        let limit = self.limit.as_ref().and_then(|l| {
            let text = std::fs::read_to_string(l.path).ok()?;
            Some((text.trim().parse::<u32>().ok()?.saturating_sub(l.others), l.path))
        });
        match limit {
            Some((possible, path)) if possible < self.most => {
                (possible, format!("  (of {}: {path} allows no more)", self.most))
            }
            _ => (self.most, String::new()),
        }
    }

    /// What one costs in trees of three sizes, the cost of a process with none taken off.
    fn measure(&self, room: &Room, most: u32, bare: (f64, f64)) -> Outcome<Vec<Line>> {
        let line = |count: u32| {
            let (dump, restore) = room.shortest(&self.row(count))?;
            let each = |us: f64, bare: f64| (us - bare).max(0.0) / f64::from(count);
            Ok(Line { count, dump_us: each(dump, bare.0), restore_us: each(restore, bare.1) })
        };
        [most / 10, most / 3, most].map(line).into_iter().collect()
    }

    fn row(&self, count: u32) -> Row {
        Row { name: self.name, kind: self.kind, count, repeats: REPEATS }
    }
}

/// Measures and prints the table.
pub fn run(room: &Room) -> Outcome {
    println!(
        "\nmicroseconds for each, in trees of three sizes; x: the largest beside the smallest, 1.0 and less is linear\n"
    );
    println!(
        "{:<20} | {:>8} {:>8} {:>8} {:>5} | {:>8} {:>8} {:>8} {:>5}",
        "", "dump", "", "", "x", "restore", "", "", "x"
    );
    let bare = room.shortest(&Row { name: "bare", kind: "small", count: 1, repeats: 2 * REPEATS })?;
    for growth in &GROWTH {
        let (most, limit) = growth.most();
        let lines = growth.measure(room, most, bare)?;
        let columns = |value: fn(&Line) -> f64| {
            let values: Vec<f64> = lines.iter().map(value).collect();
            let shown: String = values.iter().map(|v| format!(" {v:>8.1}")).collect();
            format!("{shown} {:>5.1}", values[values.len() - 1] / values[0])
        };
        let counts: Vec<String> = lines.iter().map(|l| l.count.to_string()).collect();
        let name = format!("{:<20}", growth.name);
        println!("{name} |{} |{}   {}{limit}", columns(|l| l.dump_us), columns(|l| l.restore_us), counts.join(" "));
    }
    Ok(())
}
