//! Checkpoint: durable blocks go home, then the tail passes them.
use super::Drive;
use crate::format::log::LogHeader;
use crate::variant::{Fault, Variant};
use bento_api::limits::DRIVE_STEP;
use bento_api::{BatchSeq, Event, IoList, Platform, Then};

impl<P: Platform> Drive<'_, P> {
    /// Begins to write the homes of everything durable.
    pub(super) fn checkpoint(&mut self) -> Then {
        if self.state.homing.get() != 0 {
            return Then::InFlight;
        }
        let durable = self.state.durable.get();
        match self.state.live().first() {
            None => return Then::Idle,
            Some(first) if first.seq.get() > durable => return Then::InFlight,
            Some(_) => {}
        }
        self.state.homing.set(durable);
        self.list_homes();
        Then::Deliver(Event::Homed(Ok(())))
    }

    fn list_homes(&mut self) -> u32 {
        self.platform.write_homes(self.io, BatchSeq(self.state.homing.get()), DRIVE_STEP)
    }

    /// Lists the next homes, or, when all are written, the tail behind them.
    pub(super) fn homed<V: Variant>(&mut self) -> Then {
        if self.list_homes() > 0 {
            return Then::Deliver(Event::Homed(Ok(())));
        }
        let homing = self.state.homing.get();
        let Some(last) = self.state.live().iter().rfind(|live| live.seq.get() <= homing).copied() else {
            self.state.homing.set(0);
            return Then::Idle;
        };
        self.state.counter.set(self.state.counter.get().saturating_add(1));
        let header = LogHeader {
            counter: self.state.counter.get(),
            epoch: self.state.epoch.get(),
            tail_seq: BatchSeq(homing.saturating_add(1)),
            tail_at: last.end(),
            prev_crc: last.crc.get(),
            totals: last.totals(),
            unrecorded: last.unrecorded.get(),
        };
        let Some(slot) = self.geometry().log_slot(header.slot()) else { return self.die() };
        if V::FAULT != Fault::NoCheckpointFlush {
            self.flush(); // homes before the tail
        }
        let seed = self.volume.seed;
        self.io.fill(slot, |bytes| header.encode(bytes, seed));
        self.state.home_crc = last.crc;
        Then::Deliver(Event::Tail(Ok(())))
    }

    /// Forgets the batches that are home: the only place that gives log space back. The tail may not be on the medium
    /// yet, but it will be before the next record is: see [`super`].
    pub(super) fn tail_written(&mut self) -> Then {
        let homing = self.state.homing.get();
        let home = self.state.live().iter().take_while(|live| live.seq.get() <= homing);
        let (count, copies) = home.fold((0_usize, 0_u32), |(count, copies), live| {
            (count.saturating_add(1), copies.saturating_add(live.copies.get()))
        });
        self.state.drop_first(count);
        self.state.homing.set(0);
        self.platform.set_homed(BatchSeq(homing));
        self.platform.release_log(copies);
        Then::Idle
    }
}
