// The line of a long command.
import { expect, it } from 'vitest'
import { progressLine } from '../../src/commands/progress.ts'

const state = { bytes: 0, totalBytes: 1000, records: 0, seconds: 0 }

it.each([
  [state, '[------------------------]   0 %  0 records/s'],
  [
    { ...state, bytes: 250, records: 5000, seconds: 2 },
    '[######------------------]  25 %  2,500 records/s  6s left',
  ],
  [
    { ...state, bytes: 999, records: 1e6, seconds: 100 },
    '[#######################-]  99 %  10,000 records/s  1s left',
  ],
  [
    { ...state, bytes: 1500, records: 10, seconds: 1 },
    '[########################] 100 %  10 records/s  0s left',
  ],
  [{ ...state, totalBytes: 0, seconds: 1 }, '[########################] 100 %  0 records/s  0s left'],
])('%o', (at, line) => expect(progressLine(at)).toBe(line))
