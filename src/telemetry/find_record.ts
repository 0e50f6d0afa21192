// In: an audit file and the id of a decision. Out: the last record of it. Reads the file once, in pieces, so
// memory stays flat whatever its size. Never writes, never believes a line that merely mentions the id.
import { open } from 'node:fs/promises'

const pieceBytes = 1024 * 1024
/** A record holds a bounded input and bounded names: nothing the gate writes is longer. */
const maxLineBytes = 8 * 1024 * 1024

/**
 * The last record of a decision, parsed; a risky request has an earlier one of its intent. Undefined when no
 * line is a record of it. Rejects with the system's error when the file cannot be read.
 */
export async function findRecord(path: string, decisionId: string): Promise<unknown> {
  const file = await open(path, 'r')
  try {
    const needle = Buffer.from(JSON.stringify(decisionId))
    let found: unknown
    let rest: Buffer = Buffer.alloc(0)
    for (;;) {
      const piece = Buffer.allocUnsafe(pieceBytes)
      const { bytesRead } = await file.read(piece, 0, pieceBytes)
      const text = Buffer.concat([rest, piece.subarray(0, bytesRead)])
      // At the end, what no newline ends is a line too.
      const end = bytesRead === 0 ? text.length : text.lastIndexOf(0x0a) + 1
      for (const line of linesWith(needle, text.subarray(0, end))) found = recordOf(line, decisionId) ?? found
      if (bytesRead === 0) return found
      rest = text.length - end > maxLineBytes ? Buffer.alloc(0) : text.subarray(end)
    }
  } finally {
    await file.close()
  }
}

function* linesWith(needle: Buffer, text: Buffer): Generator<string> {
  for (let at = text.indexOf(needle); at >= 0; ) {
    const start = text.lastIndexOf(0x0a, at) + 1
    const newline = text.indexOf(0x0a, at)
    const end = newline < 0 ? text.length : newline
    yield text.toString('utf8', start, end)
    at = text.indexOf(needle, end)
  }
}

function recordOf(line: string, decisionId: string): unknown {
  try {
    const record: unknown = JSON.parse(line)
    const named = typeof record === 'object' && record !== null && 'decision_id' in record
    return named && record.decision_id === decisionId ? record : undefined
  } catch {
    return undefined
  }
}
