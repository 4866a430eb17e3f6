//! Listing directories, also while they change, and directories of many names.

use crate::case::{Ground, cases, list, same, stat};
use anyhow::{Context, Result, ensure};
use rustix::fs::{Dir, Mode, OFlags};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

cases![
    a_new_directory_lists_itself_and_its_parent,
    link_counts_of_directories_follow_their_children,
    a_directory_of_three_thousand_names_lists_each_once,
    names_that_stay_are_listed_once_while_others_come_and_go,
    removing_while_listing_reaches_every_name,
    a_listing_that_was_rewound_shows_what_came_meanwhile,
    a_listing_goes_on_at_a_position_taken_before,
    an_open_directory_that_was_removed_lists_nothing,
    a_chain_of_a_hundred_directories_can_be_walked_and_removed,
    threads_in_one_directory_do_not_lose_names,
    what_a_listing_says_of_kinds_and_inodes_is_what_stat_says,
];

fn open(dir: &Path) -> Result<Dir> {
    let handle = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    Ok(Dir::new(handle)?)
}

fn rest(dir: &mut Dir) -> Result<Vec<String>> {
    let mut names = Vec::new();
    while let Some(entry) = dir.read() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn a_new_directory_lists_itself_and_its_parent(ground: &Ground) -> Result<()> {
    let path = ground.dir("dir")?;
    let mut dir = open(&path)?;
    let mut found = BTreeSet::new();
    while let Some(entry) = dir.read() {
        let entry = entry?;
        found.insert((entry.file_name().to_string_lossy().into_owned(), entry.ino()));
    }
    let (own, parent) = (stat(&path)?.st_ino, stat(ground.top())?.st_ino);
    same("entries", found, [(".".to_string(), own), ("..".to_string(), parent)].into())
}

fn link_counts_of_directories_follow_their_children(ground: &Ground) -> Result<()> {
    let top = ground.dir("top")?;
    let links = || Ok::<_, anyhow::Error>(stat(&top)?.st_nlink);
    same("of an empty one", links()?, 2)?;
    let (one, _) = (ground.dir("top/one")?, ground.dir("top/two")?);
    ground.file("top/file", b"")?;
    same("with two directories and a file in it", links()?, 4)?;
    ground.dir("elsewhere")?;
    fs::rename(&one, ground.path("elsewhere/one"))?;
    same("after one moved away", links()?, 3)?;
    fs::remove_dir(ground.path("top/two"))?;
    same("after the other was removed", links()?, 2)
}

fn a_directory_of_three_thousand_names_lists_each_once(ground: &Ground) -> Result<()> {
    let dir = ground.dir("dir")?;
    let names: BTreeSet<String> =
        (0..3000).map(|number| format!("name-{number:05}-{}", number % 7)).collect();
    for name in &names {
        fs::write(dir.join(name), b"")?;
    }
    same("names", list(&dir)? == names, true)?;
    for name in &names {
        fs::remove_file(dir.join(name)).with_context(|| name.clone())?;
    }
    same("names left", list(&dir)?.len(), 0)
}

fn names_that_stay_are_listed_once_while_others_come_and_go(ground: &Ground) -> Result<()> {
    let path = ground.dir("dir")?;
    for number in 0..600 {
        fs::write(path.join(format!("stays{number}")), b"")?;
        fs::write(path.join(format!("goes{number}")), b"")?;
    }
    let mut dir = open(&path)?;
    let (mut seen, mut number) = (Vec::new(), 0);
    while let Some(entry) = dir.read() {
        seen.push(entry?.file_name().to_string_lossy().into_owned());
        if number < 600 {
            fs::remove_file(path.join(format!("goes{number}")))?;
            fs::write(path.join(format!("comes{number}")), b"")?;
            number += 1;
        }
    }
    let stays: Vec<&String> = seen.iter().filter(|name| name.starts_with("stays")).collect();
    let different: BTreeSet<&&String> = stays.iter().collect();
    same("of 600 that stay, listed", (stays.len(), different.len()), (600, 600))
}

fn removing_while_listing_reaches_every_name(ground: &Ground) -> Result<()> {
    let path = ground.dir("dir")?;
    for number in 0..1000 {
        fs::write(path.join(format!("f{number}")), b"")?;
    }
    let mut dir = open(&path)?;
    while let Some(entry) = dir.read() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with('f') {
            fs::remove_file(path.join(name))?;
        }
    }
    same("left", list(&path)?.len(), 0)
}

fn a_listing_that_was_rewound_shows_what_came_meanwhile(ground: &Ground) -> Result<()> {
    let path = ground.dir("dir")?;
    fs::write(path.join("first"), b"")?;
    let mut dir = open(&path)?;
    same("before", rest(&mut dir)?, vec!["first".to_string()])?;
    fs::write(path.join("second"), b"")?;
    fs::remove_file(path.join("first"))?;
    dir.rewind();
    same("after", rest(&mut dir)?, vec!["second".to_string()])
}

fn a_listing_goes_on_at_a_position_taken_before(ground: &Ground) -> Result<()> {
    let path = ground.dir("dir")?;
    for number in 0..500 {
        fs::write(path.join(format!("name{number}")), b"")?;
    }
    let mut dir = open(&path)?;
    let mut position = 0;
    for _ in 0..200 {
        let entry = dir.read().context("the listing ends early")??;
        position = entry.offset();
    }
    let first = rest(&mut dir)?;
    dir.seek(position)?;
    same("the rest, read again", rest(&mut dir)? == first, true)
}

fn an_open_directory_that_was_removed_lists_nothing(ground: &Ground) -> Result<()> {
    let path = ground.dir("dir")?;
    let mut dir = open(&path)?;
    fs::remove_dir(&path)?;
    while let Some(Ok(entry)) = dir.read() {
        let name = entry.file_name().to_string_lossy().into_owned();
        ensure!(name == "." || name == "..", "{name} is listed in a removed directory");
    }
    Ok(())
}

fn a_chain_of_a_hundred_directories_can_be_walked_and_removed(ground: &Ground) -> Result<()> {
    let mut path = ground.top().to_path_buf();
    for depth in 0..100 {
        path.push(format!("d{depth}"));
        fs::create_dir(&path)?;
    }
    fs::write(path.join("deep"), b"deep")?;
    same("content", fs::read(path.join("deep"))?, b"deep".to_vec())?;
    let up = path.join("../".repeat(100));
    same("the way back up", stat(&up)?.st_ino, stat(ground.top())?.st_ino)
}

fn threads_in_one_directory_do_not_lose_names(ground: &Ground) -> Result<()> {
    let path = ground.dir("dir")?;
    let work = |thread: usize| -> Result<()> {
        for number in 0..200 {
            let name = path.join(format!("t{thread}-{number}"));
            fs::write(&name, [number as u8])?;
            if number % 3 == 0 {
                fs::rename(&name, path.join(format!("r{thread}-{number}")))?;
            }
            if number % 5 == 1 {
                fs::hard_link(&name, path.join(format!("l{thread}-{number}"))).or_else(|error| {
                    // Renamed just above: nothing to link.
                    if number % 3 == 0 { Ok(()) } else { Err(error) }
                })?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..8).map(|thread| scope.spawn(move || work(thread))).collect();
        running.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a thread panicked"),
        })
    })?;
    let names = list(&path)?;
    let count = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
    let linked = (0..200).filter(|number| number % 5 == 1 && number % 3 != 0).count();
    same("names", (count("t"), count("r"), count("l")), (8 * 133, 8 * 67, 8 * linked))
}

fn what_a_listing_says_of_kinds_and_inodes_is_what_stat_says(ground: &Ground) -> Result<()> {
    ground.file("file", b"")?;
    ground.dir("dir")?;
    rustix::fs::symlink("x", ground.path("link"))?;
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, ground.path("fifo"), fifo, Mode::from_bits_retain(0o600), 0)?;
    let mut dir = open(ground.top())?;
    let mut seen = 0;
    while let Some(entry) = dir.read() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == ".." {
            continue;
        }
        let status = stat(&ground.path(&name))?;
        same(&name, entry.ino(), status.st_ino)?;
        same(&name, entry.file_type(), rustix::fs::FileType::from_raw_mode(status.st_mode))?;
        seen += 1;
    }
    same("entries", seen, 5)
}
