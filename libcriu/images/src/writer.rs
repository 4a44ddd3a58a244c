//! Writes one image: magics, entries, payloads.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};

use prost::Message;

use crate::dir::MAX_ENTRY_BYTES;
use crate::error::{ImageError, Result};
use crate::kind::Kind;
use crate::layout::padding;
use crate::messages::{
    BpfmapDataEntry, GhostChunkEntry, IpcMsg, IpcMsgEntry, IpcSemEntry, IpcShmEntry, PipeDataEntry, SkPacketEntry,
    TcpStreamEntry,
};

/// Writes entries and payloads of one image.
#[derive(Debug)]
pub struct ImageWriter {
    name: String,
    out: BufWriter<File>,
    at: u64,
    /// The entry that is being written.
    encoded: Vec<u8>,
}

impl ImageWriter {
    pub(crate) fn new(name: &str, file: File, kind: Kind) -> Result<Self> {
        let mut w = ImageWriter { name: name.to_owned(), out: BufWriter::new(file), at: 0, encoded: Vec::new() };
        w.raw(&kind.lead())?;
        Ok(w)
    }

    /// Appends an entry: its length, then the message.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`]; [`ImageError::Corrupt`] for an entry longer than readers believe.
    pub fn entry<M: Message>(&mut self, entry: &M) -> Result<()> {
        const LENGTH_BYTES: usize = 4;
        let mut bytes = std::mem::take(&mut self.encoded);
        bytes.clear();
        bytes.resize(LENGTH_BYTES, 0);
        // What it is long is known then; to ask before takes about as long as this.
        entry.encode_raw(&mut bytes);
        let len = bytes.len() - LENGTH_BYTES;
        if len > MAX_ENTRY_BYTES as usize {
            return Err(self.wrong(format!("an entry of {len} bytes")));
        }
        bytes[..LENGTH_BYTES].copy_from_slice(&(len as u32).to_le_bytes());
        let written = self.raw(&bytes);
        self.encoded = bytes;
        written
    }

    /// Appends bytes as they are: the payload of the entry before.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`].
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| self.io("write", e))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Appends exactly `len` bytes from a reader.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`], also when the reader ends before.
    pub fn raw_from(&mut self, from: &mut dyn Read, len: u64) -> Result<()> {
        let copied = std::io::copy(&mut from.take(len), &mut self.out).map_err(|e| self.io("copy", e))?;
        self.at += copied;
        if copied != len {
            return Err(self.io("copy", std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    /// Appends the contents of a pipe or fifo.
    ///
    /// # Errors
    ///
    /// As [`Self::entry`]; when `data` is not as long as the entry says. So do the others below.
    pub fn pipe_data(&mut self, entry: &PipeDataEntry, data: &[u8]) -> Result<()> {
        self.sized("bytes", u64::from(entry.bytes), data)?;
        self.entry(entry)?;
        self.raw(data)
    }

    /// Appends a packet queued in a socket.
    ///
    /// # Errors
    ///
    /// As [`Self::pipe_data`].
    pub fn packet(&mut self, entry: &SkPacketEntry, data: &[u8]) -> Result<()> {
        self.sized("length", u64::from(entry.length), data)?;
        self.entry(entry)?;
        self.raw(data)
    }

    /// Appends a TCP connection with both its queues.
    ///
    /// # Errors
    ///
    /// As [`Self::pipe_data`].
    pub fn tcp_stream(&mut self, entry: &TcpStreamEntry, inq: &[u8], outq: &[u8]) -> Result<()> {
        self.sized("inq_len", u64::from(entry.inq_len), inq)?;
        self.sized("outq_len", u64::from(entry.outq_len), outq)?;
        self.entry(entry)?;
        self.raw(inq)?;
        self.raw(outq)
    }

    /// Appends a SysV shared memory segment; `None` when its pages are in a pagemap.
    ///
    /// # Errors
    ///
    /// As [`Self::pipe_data`].
    pub fn segment(&mut self, entry: &IpcShmEntry, data: Option<&[u8]>) -> Result<()> {
        if data.is_none() != entry.in_pagemaps() {
            return Err(self.wrong("a segment has its bytes here or in a pagemap"));
        }
        if let Some(data) = data {
            self.sized("size", entry.size, data)?;
        }
        self.entry(entry)?;
        data.map_or(Ok(()), |d| self.padded(d, 4))
    }

    /// Appends a message queue.
    ///
    /// # Errors
    ///
    /// As [`Self::pipe_data`].
    pub fn message_queue(&mut self, entry: &IpcMsgEntry, messages: &[(IpcMsg, Vec<u8>)]) -> Result<()> {
        if messages.len() != entry.qnum as usize {
            return Err(self.wrong(format!("{} messages in a queue of {}", messages.len(), entry.qnum)));
        }
        self.entry(entry)?;
        for (message, text) in messages {
            self.sized("msize", u64::from(message.msize), text)?;
            self.entry(message)?;
            self.padded(text, 8)?;
        }
        Ok(())
    }

    /// Appends a semaphore set.
    ///
    /// # Errors
    ///
    /// As [`Self::pipe_data`].
    pub fn semaphores(&mut self, entry: &IpcSemEntry, values: &[u16]) -> Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.sized("nsems", u64::from(entry.nsems) * 2, &bytes)?;
        self.entry(entry)?;
        self.padded(&bytes, 8)
    }

    /// Appends the contents of a BPF map.
    ///
    /// # Errors
    ///
    /// As [`Self::pipe_data`].
    pub fn bpf_map(&mut self, entry: &BpfmapDataEntry, keys: &[u8], values: &[u8]) -> Result<()> {
        self.sized("keys_bytes", u64::from(entry.keys_bytes), keys)?;
        self.sized("values_bytes", u64::from(entry.values_bytes), values)?;
        self.entry(entry)?;
        self.raw(keys)?;
        self.raw(values)
    }

    /// Appends a piece of a ghost file whose entry has `chunks` set. One without is followed by its whole contents:
    /// [`Self::raw_from`].
    ///
    /// # Errors
    ///
    /// As [`Self::raw_from`].
    pub fn ghost_chunk(&mut self, off: u64, len: u64, from: &mut dyn Read) -> Result<()> {
        self.entry(&GhostChunkEntry { len, off })?;
        self.raw_from(from, len)
    }

    /// Writes out what is buffered. An image is complete only after this.
    ///
    /// # Errors
    ///
    /// [`ImageError::Io`], a full disk among others.
    pub fn finish(mut self) -> Result<()> {
        self.out.flush().map_err(|e| self.io("write", e))
    }

    /// Writes out what is buffered and hands back the file, positioned at its end.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`].
    pub fn into_file(self) -> Result<File> {
        let name = self.name;
        let io = |call| move |source| ImageError::Io { file: name, call, source };
        let mut file = self.out.into_inner().map_err(|e| io.clone()("write")(e.into_error()))?;
        file.seek(SeekFrom::Start(self.at)).map_err(io("lseek"))?;
        Ok(file)
    }

    fn padded(&mut self, bytes: &[u8], unit: u64) -> Result<()> {
        self.raw(bytes)?;
        self.raw(&[0; 8][..padding(bytes.len() as u64, unit) as usize])
    }

    fn sized(&self, field: &str, announced: u64, bytes: &[u8]) -> Result<()> {
        if announced == bytes.len() as u64 {
            return Ok(());
        }
        Err(self.wrong(format!("{field} says {announced}, {} bytes follow", bytes.len())))
    }

    fn wrong(&self, reason: impl Into<String>) -> ImageError {
        ImageError::Corrupt { file: self.name.clone(), offset: self.at, reason: reason.into() }
    }

    fn io(&self, call: &'static str, source: std::io::Error) -> ImageError {
        ImageError::Io { file: self.name.clone(), call, source }
    }
}
