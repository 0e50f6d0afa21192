// How far a long command is, on one line of standard error that goes away at the end. In: bytes and records
// done. Never: a character when standard error is no terminal.
import { duration } from './terminal.ts'

/** A bar that is told how far the work is. */
export interface Progress {
  update(bytes: number, records: number): void
  /** Takes the bar away. */
  end(): void
}

const silent: Progress = { update: () => undefined, end: () => undefined }
const everyMs = 100
const width = 24

/** Starts a bar for `totalBytes`; nothing is shown in the first tenth of a second. */
export function startProgress(verb: string, totalBytes: number): Progress {
  if (process.stderr.isTTY !== true) return silent
  const began = performance.now()
  let shown = began
  return {
    update(bytes, records) {
      const now = performance.now()
      if (now - shown < everyMs) return
      shown = now
      const state = { bytes, totalBytes, records, seconds: (now - began) / 1000 }
      process.stderr.write(`\r\x1b[K${verb} ${progressLine(state)}`)
    },
    end: () => void process.stderr.write('\r\x1b[K'),
  }
}

/** `[######------]  50 %  12,000 records/s  4s left`. */
export function progressLine(state: {
  readonly bytes: number
  readonly totalBytes: number
  readonly records: number
  readonly seconds: number
}): string {
  // A file may grow while it is read.
  const share = state.totalBytes === 0 ? 1 : Math.min(1, state.bytes / state.totalBytes)
  const full = Math.floor(share * width)
  const rate = Math.round(state.records / Math.max(state.seconds, 0.001)).toLocaleString('en')
  const left = share === 0 ? '' : `  ${duration((state.seconds * (1 - share)) / share + 0.999)} left`
  return `[${'#'.repeat(full)}${'-'.repeat(width - full)}] ${String(Math.floor(share * 100)).padStart(3)} %  ${rate} records/s${left}`
}
