// In: an audit file, as written, rotated, or compressed with gzip. Out: its lines, a chunk's worth at a time,
// in flat memory whatever the file is. Never parses a line.
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'

/** Some lines in a row. */
export interface LineBatch {
  /** Number of the first one, from 1. */
  readonly first: number
  /** Without their line ends. */
  readonly lines: readonly string[]
  /** Bytes of the file read so far, as they lie on disk. */
  readonly bytesRead: number
}

const chunkBytes = 1024 * 1024
const newline = 10

/** No record comes near it. A longer line, which cannot be one, is given as its beginning. */
export const maxLineBytes = 8 * 1024 * 1024

/** Reads `file`; `.gz` is decompressed. Rejects with the system's or the decompressor's error. */
export async function* auditLines(file: string): AsyncGenerator<LineBatch> {
  const raw = createReadStream(file, { highWaterMark: chunkBytes })
  // An error of either stream ends the iteration below.
  const bytes = file.endsWith('.gz')
    ? pipeline(raw, createGunzip({ chunkSize: chunkBytes }), () => undefined)
    : raw
  let first = 1
  const splitter = new LineSplitter()
  for await (const chunk of bytes as AsyncIterable<Buffer>) {
    const lines = splitter.add(chunk)
    yield { first, lines, bytesRead: raw.bytesRead }
    first += lines.length
  }
  yield { first, lines: splitter.end(), bytesRead: raw.bytesRead }
}

/** Cuts bytes into lines. */
export class LineSplitter {
  /** What follows the last line end. */
  #rest: Buffer[] = []
  #restBytes = 0

  add(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      this.#keep(chunk.subarray(start, end))
      lines.push(this.#take())
      start = end + 1
    }
    this.#keep(chunk.subarray(start))
    return lines
  }

  /** The last line, when the file does not end in a line end. */
  end(): string[] {
    return this.#restBytes === 0 ? [] : [this.#take()]
  }

  #keep(bytes: Buffer): void {
    const room = maxLineBytes - this.#restBytes
    if (bytes.length === 0 || room === 0) return
    this.#rest.push(bytes.subarray(0, room))
    this.#restBytes += Math.min(room, bytes.length)
  }

  #take(): string {
    const [only] = this.#rest
    const line = only !== undefined && this.#rest.length === 1 ? only : Buffer.concat(this.#rest)
    this.#rest = []
    this.#restBytes = 0
    return line.toString('utf8')
  }
}
