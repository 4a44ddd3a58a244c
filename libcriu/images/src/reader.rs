//! Reads one image: magics, entries, payloads; never more than the file holds.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileExt;

use prost::{Message, Name};

use crate::dir::MAX_ENTRY_BYTES;
use crate::error::{ImageError, Result};
use crate::kind::{COMMON_MAGIC, Kind, SERVICE_MAGIC};
use crate::layout::{PAGE_BYTES, padding};
use crate::messages::{
    BpfmapDataEntry, GhostChunkEntry, GhostFileEntry, IpcMsg, IpcMsgEntry, IpcSemEntry, IpcShmEntry, PagemapEntry,
    PipeDataEntry, SkPacketEntry, TcpStreamEntry,
};
use crate::schema;
use crate::wire::{self, Cursor};

/// Reads entries and payloads of one image.
///
/// Entries are checked against the .proto files: required fields, ranges, fields given twice. A field that is unknown is
/// an error too, for it says something that would be lost.
#[derive(Debug)]
pub struct ImageReader {
    name: String,
    file: BufReader<File>,
    size: u64,
    at: u64,
    /// The schema of the entries read last.
    schema: Option<&'static schema::Message>,
}

impl ImageReader {
    pub(crate) fn new(name: &str, file: File, size: u64, kind: Kind) -> Result<Self> {
        let mut r = ImageReader { name: name.to_owned(), file: BufReader::new(file), size, at: 0, schema: None };
        if kind.magic() == 0 {
            return Ok(r);
        }
        let mut magic = r.u32()?;
        let lead = if kind.is_service() { SERVICE_MAGIC } else { COMMON_MAGIC };
        // Version 1 images, like the inventory, start with the type's own magic.
        if magic == lead && kind != Kind::Inventory {
            magic = r.u32()?;
        }
        if magic != kind.magic() {
            r.at -= 4;
            return Err(r.corrupt(format!("magic {magic:#x} is not that of {kind} ({:#x})", kind.magic())));
        }
        Ok(r)
    }

    /// The next entry; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// [`ImageError::Corrupt`] with the offset: a length beyond the file's end, a message that breaks its schema;
    /// [`ImageError::Io`].
    pub fn entry<M: Message + Default + Name>(&mut self) -> Result<Option<M>> {
        let Some(bytes) = self.encoded()? else { return Ok(None) };
        self.decode(&bytes).map(Some)
    }

    /// The bytes of the next entry, which nobody has checked; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// As [`Self::entry`], without those of the schema.
    pub fn encoded(&mut self) -> Result<Option<Vec<u8>>> {
        if self.at == self.size {
            return Ok(None);
        }
        let len = self.u32()?;
        let left = self.left();
        if len > MAX_ENTRY_BYTES || u64::from(len) > left {
            self.at -= 4;
            return Err(self.corrupt(format!("an entry of {len} bytes, {left} are left")));
        }
        self.payload(u64::from(len)).map(Some)
    }

    /// What [`Self::encoded`] has just given, checked.
    ///
    /// # Errors
    ///
    /// As [`Self::entry`].
    pub fn decode<M: Message + Default + Name>(&mut self, bytes: &[u8]) -> Result<M> {
        let start = self.at.saturating_sub(bytes.len() as u64);
        self.check(M::NAME, bytes, start)?;
        M::decode(bytes).map_err(|e| self.corrupt_at(start, format!("no {}: {e}", M::NAME)))
    }

    fn check(&mut self, name: &'static str, bytes: &[u8], start: u64) -> Result<()> {
        if self.schema.is_none_or(|s| s.name != name) {
            self.schema = schema::Message::by_name(name);
        }
        let schema = self.schema.ok_or_else(|| self.corrupt_at(start, format!("{name} is not in the schema")))?;
        wire::check(schema, Cursor::new(bytes, start), 0).map_err(|f| self.corrupt_at(f.offset, f.reason))
    }

    /// The next `len` raw bytes.
    ///
    /// # Errors
    ///
    /// [`ImageError::Corrupt`] when the file holds fewer; [`ImageError::Io`].
    pub fn payload(&mut self, len: u64) -> Result<Vec<u8>> {
        self.announce(len)?;
        // Bounded by the file's size, which was checked just above.
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| self.corrupt("too long for this machine"))?];
        self.file.read_exact(&mut bytes).map_err(|e| self.io("read", e))?;
        self.at += len;
        Ok(bytes)
    }

    /// Copies the next `len` raw bytes without holding them.
    ///
    /// # Errors
    ///
    /// As [`Self::payload`]; [`ImageError::Io`] also when `to` fails.
    pub fn copy_payload(&mut self, len: u64, to: &mut dyn Write) -> Result<()> {
        self.announce(len)?;
        let copied = std::io::copy(&mut (&mut self.file).take(len), to).map_err(|e| self.io("copy", e))?;
        self.at += copied;
        if copied != len {
            return Err(self.io("read", std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    fn announce(&self, len: u64) -> Result<()> {
        if len > self.left() {
            return Err(self.corrupt(format!("{len} bytes are announced, {} are left", self.left())));
        }
        Ok(())
    }

    /// Contents of a pipe or fifo.
    ///
    /// # Errors
    ///
    /// As [`Self::payload`]. So do the others below.
    pub fn pipe_data(&mut self, entry: &PipeDataEntry) -> Result<Vec<u8>> {
        self.payload(u64::from(entry.bytes))
    }

    /// A packet queued in a socket.
    ///
    /// # Errors
    ///
    /// As [`Self::payload`].
    pub fn packet(&mut self, entry: &SkPacketEntry) -> Result<Vec<u8>> {
        self.payload(u64::from(entry.length))
    }

    /// The receive and the send queue of a TCP connection.
    ///
    /// # Errors
    ///
    /// As [`Self::payload`].
    pub fn tcp_queues(&mut self, entry: &TcpStreamEntry) -> Result<(Vec<u8>, Vec<u8>)> {
        Ok((self.payload(u64::from(entry.inq_len))?, self.payload(u64::from(entry.outq_len))?))
    }

    /// The bytes of a SysV shared memory segment; `None` when they are in a pagemap.
    ///
    /// # Errors
    ///
    /// As [`Self::payload`].
    pub fn segment(&mut self, entry: &IpcShmEntry) -> Result<Option<Vec<u8>>> {
        if entry.in_pagemaps() {
            return Ok(None);
        }
        self.padded(entry.size, 4).map(Some)
    }

    /// The messages of a queue with their texts.
    ///
    /// # Errors
    ///
    /// As [`Self::entry`].
    pub fn message_queue(&mut self, entry: &IpcMsgEntry) -> Result<Vec<(IpcMsg, Vec<u8>)>> {
        let mut messages = Vec::new();
        for _ in 0..entry.qnum {
            let message: IpcMsg = self.entry()?.ok_or_else(|| self.corrupt("a message is missing"))?;
            let text = self.padded(u64::from(message.msize), 8)?;
            messages.push((message, text));
        }
        Ok(messages)
    }

    /// The values of a semaphore set.
    ///
    /// # Errors
    ///
    /// As [`Self::payload`].
    pub fn semaphores(&mut self, entry: &IpcSemEntry) -> Result<Vec<u16>> {
        let bytes = self.padded(u64::from(entry.nsems) * 2, 8)?;
        Ok(bytes.chunks_exact(2).map(|v| u16::from_le_bytes([v[0], v[1]])).collect())
    }

    /// Keys and values of a BPF map.
    ///
    /// # Errors
    ///
    /// As [`Self::payload`].
    pub fn bpf_map(&mut self, entry: &BpfmapDataEntry) -> Result<(Vec<u8>, Vec<u8>)> {
        Ok((self.payload(u64::from(entry.keys_bytes))?, self.payload(u64::from(entry.values_bytes))?))
    }

    /// The pages behind a record of a page file of the oldest format.
    ///
    /// # Errors
    ///
    /// As [`Self::payload`].
    pub fn old_pages(&mut self, entry: &PagemapEntry) -> Result<Vec<u8>> {
        self.payload(entry.page_count().saturating_mul(PAGE_BYTES))
    }

    /// Writes the contents of a ghost file, to a file of length 0 that is as long as the ghost was afterwards.
    ///
    /// # Errors
    ///
    /// As [`Self::entry`]; [`ImageError::Corrupt`] for a chunk beyond the ghost's end; [`ImageError::Io`] when `to` fails.
    pub fn copy_ghost(&mut self, entry: &GhostFileEntry, to: &File) -> Result<()> {
        if !entry.chunks() {
            return self.copy_payload(self.left(), &mut &*to);
        }
        let mut end = 0;
        while let Some(chunk) = self.entry::<GhostChunkEntry>()? {
            let stop = chunk.off.checked_add(chunk.len).filter(|&s| s <= entry.size.unwrap_or(i64::MAX as u64));
            end = end.max(stop.ok_or_else(|| self.corrupt("a chunk lies beyond the end of its ghost file"))?);
            self.announce(chunk.len)?;
            self.copy_ghost_chunk(&chunk, to)?;
        }
        let size = entry.size.unwrap_or(end);
        to.set_len(size).map_err(|e| self.io("ftruncate of the ghost file", e))
    }

    fn copy_ghost_chunk(&mut self, chunk: &GhostChunkEntry, to: &File) -> Result<()> {
        let (mut off, mut left) = (chunk.off, chunk.len);
        let mut piece = vec![0; left.min(1 << 20) as usize];
        while left > 0 {
            let len = left.min(piece.len() as u64);
            let piece = &mut piece[..len as usize];
            self.file.read_exact(piece).map_err(|e| self.io("read", e))?;
            to.write_all_at(piece, off).map_err(|e| self.io("pwrite of the ghost file", e))?;
            self.at += len;
            (off, left) = (off + len, left - len);
        }
        Ok(())
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.size - self.at
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    ///
    /// [`ImageError::Corrupt`] when there is.
    pub fn end(&self) -> Result<()> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.corrupt(format!("{left} bytes follow the last entry"))),
        }
    }

    /// An error that names this file and the offset reached.
    pub fn corrupt(&self, reason: impl Into<String>) -> ImageError {
        self.corrupt_at(self.at, reason)
    }

    fn corrupt_at(&self, offset: u64, reason: impl Into<String>) -> ImageError {
        ImageError::Corrupt { file: self.name.clone(), offset, reason: reason.into() }
    }

    fn io(&self, call: &'static str, source: std::io::Error) -> ImageError {
        ImageError::Io { file: self.name.clone(), call, source }
    }

    fn padded(&mut self, len: u64, unit: u64) -> Result<Vec<u8>> {
        let mut bytes = self.payload(len.saturating_add(padding(len, unit)))?;
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        let b = self.payload(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
}
