// In: the path of an audit file that others write to. Out: the lines that are added from now on, in the order of the
// file, through rotation (renamed, then reopened on SIGHUP by one writer after the other) and truncation. Polls, reads a
// piece at a time, keeps one unfinished line. Never parses a line, never writes.
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { LineSplitter } from './audit_lines.ts'

export interface Following {
  close(): void
}

export interface FollowOptions {
  /** Called with whole lines, at least one. Must not throw. */
  readonly onLines: (lines: readonly string[]) => void
  readonly pollMs?: number
  /** How long a file that has been renamed is still read after it last grew. */
  readonly retireMs?: number
}

const pieceBytes = 1024 * 1024

/** Begins to follow at the end of the file as it is when this resolves; one that is not there yet is waited for. */
export async function followAudit(
  path: string,
  { onLines, pollMs = 250, retireMs = 15_000 }: FollowOptions,
): Promise<Following> {
  const closing = new AbortController()
  const { signal } = closing
  const first = await Followed.open(path, 'end')
  let followed = first === undefined ? [] : [first]

  async function look(): Promise<void> {
    const next = await Followed.open(path, 'start')
    if (next !== undefined && followed.at(-1)?.file !== next.file) followed.push(next)
    else await next?.close()
    // The older file first, so that lines come in the order in which they were written.
    for (const each of followed) await each.read(onLines, signal)
    const retired = followed.slice(0, -1).filter((each) => each.idleMs() > retireMs)
    followed = followed.filter((each) => !retired.includes(each))
    await Promise.all(retired.map((each) => each.close()))
  }

  async function follow(): Promise<void> {
    try {
      for (;;) {
        await sleep(pollMs, undefined, { ref: false, signal })
        // A file that cannot be read now may be read later; readers see that nothing comes.
        await look().catch(() => undefined)
      }
    } catch {
      await Promise.all(followed.map((each) => each.close()))
    }
  }
  void follow()
  return { close: () => closing.abort() }
}

/** One file, and how far it has been read. */
class Followed {
  readonly file: string
  readonly #handle: FileHandle
  #at: number
  #splitter = new LineSplitter()
  /** What comes before the first line end belongs to a line that began before we did. */
  #midLine: boolean
  #grewAt = performance.now()

  private constructor(handle: FileHandle, file: string, at: number, midLine: boolean) {
    this.#handle = handle
    this.file = file
    this.#at = at
    this.#midLine = midLine
  }

  /** Undefined: there is no such file now. */
  static async open(path: string, from: 'start' | 'end'): Promise<Followed | undefined> {
    const handle = await open(path, 'r').catch((error: unknown) => {
      if (isMissing(error)) return undefined
      throw error
    })
    if (handle === undefined) return undefined
    const { ino, size } = await handle.stat({ bigint: true })
    const at = from === 'start' ? 0 : Number(size)
    const last = Buffer.from('\n')
    if (at > 0) await handle.read(last, 0, 1, at - 1)
    return new Followed(handle, String(ino), at, last.toString() !== '\n')
  }

  /** Reads all that has been added. */
  async read(onLines: FollowOptions['onLines'], signal: AbortSignal): Promise<void> {
    const { size } = await this.#handle.stat()
    if (size < this.#at) this.#begin()
    while (this.#at < size && !signal.aborted) {
      // A new one each time: the splitter keeps what has no line end yet.
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, size - this.#at))
      const { bytesRead } = await this.#handle.read(piece, 0, piece.length, this.#at)
      if (bytesRead === 0) return
      this.#at += bytesRead
      this.#grewAt = performance.now()
      const lines = this.#splitter.add(piece.subarray(0, bytesRead))
      if (this.#midLine && lines.length > 0) {
        lines.shift()
        this.#midLine = false
      }
      if (lines.length > 0) onLines(lines)
    }
  }

  idleMs(): number {
    return performance.now() - this.#grewAt
  }

  close(): Promise<void> {
    return this.#handle.close()
  }

  /** It has been cut: whatever is in it now is new. */
  #begin(): void {
    this.#at = 0
    this.#midLine = false
    this.#splitter = new LineSplitter()
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
