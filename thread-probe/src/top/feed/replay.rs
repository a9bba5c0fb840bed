//! Samples of a recording: no probe, no daemon, no privilege, and no host that has to be there.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Request, Sample, Update};
use crate::{
    record::{Glance, Recorded, Track},
    text::dates,
};

/// A recording, and from when on it is played.
#[derive(Clone, Debug)]
pub struct Recording {
    /// A file, or a folder with some.
    pub path: PathBuf,
    /// From when on.
    pub at: Option<Moment>,
}

/// A moment in a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// In seconds since the Unix epoch.
    Time(f64),
    /// So long before its end.
    BeforeEnd(Duration),
}

impl Moment {
    /// From a date as in `2026-11-20 03:00`, in UTC, or from how long before the end, as in `-2h`.
    ///
    /// # Errors
    /// What it may be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || "must be a time in UTC, as in '2026-11-20 03:00', or how long before the end, as in -2h".to_owned();
        if let Some(duration) = text.strip_prefix('-') {
            return humantime::parse_duration(duration).map(Self::BeforeEnd).map_err(|_| wrong());
        }
        let seconds_are_left_out = text.len() == "2026-11-20 03:00".len();
        let whole = if seconds_are_left_out { format!("{text}:00") } else { text.to_owned() };
        let time = humantime::parse_rfc3339_weak(&whole).map_err(|_| wrong())?;
        Ok(Self::Time(dates::unix_seconds(time)))
    }
}

/// Where to go in a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Travel {
    /// So many samples on, or back.
    Samples(isize),
    /// So many seconds on, or back.
    Seconds(f64),
    /// To a moment.
    To(Moment),
    /// To the next sample with another alert than the one before, or to the last such one.
    Alert(Direction),
    /// To the next sample in which something was lost, or to the last such one.
    Loss(Direction),
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// On.
    Next,
    /// Back.
    Previous,
}

/// What is played.
pub(super) struct Replay {
    track: Track,
    at: usize,
    /// Whether the sample is still to be handed on.
    is_due: bool,
    /// Whether the next sample follows by itself.
    plays: bool,
}

impl Replay {
    /// Opens a recording. One that is played begins at its beginning, else it is seen at its end.
    ///
    /// # Errors
    /// It can't be read.
    pub(super) fn open(recording: &Recording, plays: bool) -> Result<Self> {
        let track = Track::open(&recording.path)?;
        for warning in track.warnings() {
            tracing::warn!("{warning}");
        }
        let mut replay = Self { at: 0, is_due: true, plays, track };
        match recording.at {
            Some(moment) => replay.at = replay.number_at(moment),
            None if plays => {}
            None => replay.at = replay.track.len() - 1,
        }
        Ok(replay)
    }

    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// The sample is wanted again, of another process.
    pub(super) fn again(&mut self) {
        self.is_due = true;
    }

    pub(super) fn due_in(&self) -> Option<Duration> {
        self.is_due.then_some(Duration::ZERO)
    }

    pub(super) fn travel(&mut self, travel: Travel) {
        let last = self.track.len() - 1;
        self.at = match travel {
            Travel::Samples(steps) => self.at.saturating_add_signed(steps).min(last),
            Travel::Seconds(seconds) => self.seconds_on(seconds),
            Travel::To(moment) => self.number_at(moment),
            Travel::Alert(direction) => self.next_where(direction, Glance::alerts),
            Travel::Loss(direction) => self.next_where(direction, |glance| glance.lost),
        };
        self.is_due = true;
    }

    fn number_at(&self, moment: Moment) -> usize {
        self.track.at(match moment {
            Moment::Time(seconds) => seconds,
            Moment::BeforeEnd(duration) => self.track.end_unix_seconds() - duration.as_secs_f64(),
        })
    }

    fn seconds_on(&self, seconds: f64) -> usize {
        let times: Vec<f64> = self.track.glances().map(|glance| glance.time_unix_seconds).collect();
        let wanted = times[self.at] + seconds;
        if seconds > 0.0 {
            let found = times[self.at..].iter().position(|time| *time >= wanted);
            found.map_or(times.len() - 1, |after| self.at + after)
        } else {
            times[..=self.at].iter().rposition(|time| *time <= wanted).unwrap_or(0)
        }
    }

    /// The nearest sample of which a figure is higher than of the one before; this one if there is none.
    fn next_where(&self, direction: Direction, figure: impl Fn(&Glance) -> u32) -> usize {
        let figures: Vec<u32> = self.track.glances().map(figure).collect();
        let is_higher = |number: &usize| {
            let before = number.checked_sub(1).map_or(0, |before| figures[before]);
            figures[*number] > before
        };
        let found = match direction {
            Direction::Next => (self.at + 1..figures.len()).find(is_higher),
            Direction::Previous => (0..self.at).rev().find(is_higher),
        };
        found.unwrap_or(self.at)
    }

    /// The sample that is due, if one is.
    ///
    /// # Errors
    /// It can't be read.
    pub(super) fn turn(&mut self, request: Request) -> Result<Option<Update>> {
        if !self.is_due {
            return Ok(None);
        }
        if self.at >= self.track.len() {
            return Ok(Some(Update::Over));
        }
        self.is_due = self.plays;
        let sample = self.track.sample(self.at);
        if self.plays {
            self.at += 1;
        }
        let Recorded { model, looked_into } = &*sample.context("replaying failed")?;
        let one = looked_into.iter().find(|looked| Some(looked.pid) == request.pid).map(|looked| looked.one.clone());
        let sample = Sample { model: model.clone(), one, command_line: None };
        Ok(Some(Update::Sample(Box::new(sample))))
    }
}

impl Recording {
    /// The same; where no time was chosen, its end.
    pub fn or_at_its_end(self) -> Self {
        Self { at: self.at.or(Some(Moment::BeforeEnd(Duration::ZERO))), ..self }
    }

    /// What it is called, for people.
    pub fn label(&self) -> String {
        label(&self.path)
    }
}

fn label(path: &Path) -> String {
    format!("recording {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_in_utc_or_so_long_before_the_end() {
        assert_eq!(Moment::parse("1970-01-01 00:02"), Ok(Moment::Time(120.0)));
        assert_eq!(Moment::parse("1970-01-01T00:02:01Z"), Ok(Moment::Time(121.0)));
        assert_eq!(Moment::parse("-1h30m"), Ok(Moment::BeforeEnd(Duration::from_mins(90))));
        for wrong in ["", "-", "3 o'clock", "2026-13-01 00:00", "2h", "-2"] {
            assert!(Moment::parse(wrong).is_err_and(|said| said.contains("UTC")), "{wrong}");
        }
    }
}
