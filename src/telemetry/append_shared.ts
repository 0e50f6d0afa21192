// In: whole lines, and a descriptor opened to append, of a file that other processes append to as well. Out: the
// lines, each in one piece and on a line of its own. Never: waits for another process, or takes a lock.
import { fstatSync, readSync, writeSync } from 'node:fs'

const lineFeed = 0x0a

/**
 * Appends whole lines where other processes append as well; returns how many bytes of them are in the file. A
 * full disk, or SIGKILL in the middle of a write, leaves a line cut short, and whoever is next writes on in it: so
 * it looks, and writes its first line, which is lost in that other one, once more. Throws the system error.
 */
export function appendShared(fd: number, lines: Buffer): number {
  if (lines.length === 0) return 0
  const start = Math.max(0, fstatSync(fd).size - 1)
  const written = writeSync(fd, lines)
  // Whatever else was on its way into the file before these lines is complete, or cut short for good, by now.
  const since = Buffer.alloc(Math.max(0, fstatSync(fd).size - start))
  readSync(fd, since, 0, since.length, start)
  const at = since.indexOf(lines.subarray(0, written))
  if (start + at === 0 || since[at - 1] === lineFeed) return written
  const first = lines.subarray(0, lines.indexOf(lineFeed) + 1)
  return written >= first.length && appendShared(fd, first) === first.length ? written : 0
}
