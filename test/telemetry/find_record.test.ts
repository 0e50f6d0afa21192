// Records of one decision among others: across the pieces a file is read in, and against lines that only look
// like it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { findRecord } from '../../src/telemetry/find_record.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-record-'))
afterAll(() => rmSync(dir, { recursive: true }))

let files = 0
function file(...lines: readonly string[]): string {
  const path = join(dir, `audit-${++files}.jsonl`)
  writeFileSync(path, lines.join('\n'))
  return path
}
const record = (decision_id: string, more: object = {}) => JSON.stringify({ time: 't', decision_id, ...more })
const mib = 1024 * 1024

describe('a decision is found', () => {
  test.each([
    ['alone in the file', [record('dec_a', { n: 1 }), '']],
    ['without a newline after it', [record('dec_a', { n: 1 })]],
    ['between others', [record('dec_b'), record('dec_a', { n: 1 }), record('dec_c'), '']],
    ['the last of several records of it', [record('dec_a', { n: 0 }), record('dec_a', { n: 1 }), '']],
    ['behind a line that was cut short', [record('dec_a').slice(0, -1), record('dec_a', { n: 1 }), '']],
    ['across two pieces', [record('dec_b', { pad: 'x'.repeat(mib - 40) }), record('dec_a', { n: 1 }), '']],
    ['longer than a piece', [record('dec_a', { n: 1, pad: 'é'.repeat(mib) }), record('dec_b'), '']],
    ['behind a line too long to be a record', ['x'.repeat(10 * mib), record('dec_a', { n: 1 }), '']],
  ])('%s', async (_, lines) => {
    expect(await findRecord(file(...lines), 'dec_a')).toMatchObject({ decision_id: 'dec_a', n: 1 })
  })
})

describe('a decision is not found', () => {
  test.each([
    ['in an empty file', ['']],
    ['where its id only begins another', [record('dec_ab'), '']],
    ['in the input of another', [record('dec_b', { policy: { input: { decision_id: 'dec_a' } } }), '']],
    ['in a text of another', [record('dec_b', { why: 'see "decision_id":"dec_a"' }), '']],
    ['in a list', ['["dec_a"]', '']],
    ['in half a line', [record('dec_a').slice(0, -1)]],
  ])('%s', async (_, lines) => {
    expect(await findRecord(file(...lines), 'dec_a')).toBeUndefined()
  })
})

test('a file that is not there is an error', async () => {
  await expect(findRecord(join(dir, 'nowhere'), 'dec_a')).rejects.toMatchObject({ code: 'ENOENT' })
})
