// In: an audit file. Out: its lines from the newest to the oldest, a block's worth at a time, in flat memory whatever
// the file is; where each begins, so that reading can go on there later. Never parses a line.
import { type FileHandle, open } from 'node:fs/promises'
import { maxLineBytes } from './audit_lines.ts'

const blockBytes = 262_144
const newline = 10

/** One line. */
export interface PlacedLine {
  /** Without its line end. */
  readonly bytes: Buffer
  /** Where it begins in the file. */
  readonly offset: number
}

/** One audit file, open. */
export interface AuditSlice {
  /** Names the file, whatever it is called later. */
  readonly file: string
  /** Lines that end at or before `from` (default: the end of the file), newest first; one that is not whole is none. */
  backwards(from?: number): AsyncGenerator<readonly PlacedLine[]>
  /** Whether a line begins there. */
  beginsLine(offset: number): Promise<boolean>
  close(): Promise<void>
}

/** Opens a file for reading. Rejects with the system's error. */
export async function openAuditSlice(path: string): Promise<AuditSlice> {
  const handle = await open(path, 'r')
  try {
    const { ino, size } = await handle.stat({ bigint: true })
    return {
      file: String(ino),
      backwards: (from = Number(size)) => linesBefore(handle, Math.min(from, Number(size))),
      async beginsLine(offset) {
        if (offset > Number(size)) return false
        const { bytesRead, buffer } = await handle.read(Buffer.alloc(1), 0, 1, Math.max(0, offset - 1))
        return offset === 0 || (bytesRead === 1 && buffer[0] === newline)
      },
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function* linesBefore(handle: FileHandle, from: number): AsyncGenerator<readonly PlacedLine[]> {
  /** The end of a line that begins before what has been read; undefined: too long to be a record. */
  let rest: Buffer | undefined = Buffer.alloc(0)
  let wholeEnd = false
  for (let end = from; end > 0; ) {
    const start = Math.max(0, end - blockBytes)
    const read = await readAll(handle, start, end - start)
    // Cut while it was read: there is nothing to be said about what comes before.
    if (read.length < end - start) return
    const block: Buffer = rest === undefined ? read : Buffer.concat([read, rest])
    const isTooLong = rest === undefined
    const lines: PlacedLine[] = []
    let stop = block.length
    for (let at = lastLineEnd(block, stop); at >= 0; at = lastLineEnd(block, at)) {
      // What follows the last line end of the file is being written.
      const isWhole = wholeEnd && !(isTooLong && stop === block.length)
      if (isWhole && stop > at + 1)
        lines.push({ bytes: block.subarray(at + 1, stop), offset: start + at + 1 })
      wholeEnd = true
      stop = at
    }
    if (start === 0 && stop > 0 && wholeEnd && !(isTooLong && stop === block.length)) {
      lines.push({ bytes: block.subarray(0, stop), offset: 0 })
    }
    rest = block.subarray(0, stop)
    if (rest.length > maxLineBytes || (isTooLong && stop === block.length)) rest = undefined
    end = start
    yield lines
  }
}

/** Where the last line end before `stop` is; -1: nowhere. */
function lastLineEnd(block: Buffer, stop: number): number {
  return stop === 0 ? -1 : block.lastIndexOf(newline, stop - 1)
}

async function readAll(handle: FileHandle, start: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, start + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return bytes.subarray(0, filled)
}
