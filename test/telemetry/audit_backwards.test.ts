// An audit file from its end: the same lines as from its beginning, wherever blocks cut them, and from any place.
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { openAuditSlice, type PlacedLine } from '../../src/telemetry/audit_backwards.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-backwards-'))
afterAll(() => rmSync(dir, { recursive: true }))
const path = join(dir, 'audit.jsonl')
const block = 262_144
const mib = 1024 * 1024

async function read(from?: number): Promise<{ text: string; offset: number }[]> {
  const slice = await openAuditSlice(path)
  const found: PlacedLine[] = []
  for await (const lines of slice.backwards(from)) found.push(...lines)
  await slice.close()
  return found.map(({ bytes, offset }) => ({ text: bytes.toString(), offset }))
}

test('lines come back in reverse, whole, each from where it begins', async () => {
  const line = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.string({ unit: 'grapheme', maxLength: 80 }).map((text) => text.replaceAll('\n', ' ')),
    },
    {
      weight: 1,
      arbitrary: fc.integer({ min: block - 3, max: 2 * block + 3 }).map((length) => 'x'.repeat(length)),
    },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (lines) => {
      writeFileSync(path, lines.map((each) => `${each}\n`).join(''))
      const found = await read()
      expect(found.map(({ text }) => text)).toEqual(lines.filter((each) => each !== '').toReversed())
      for (const [at, { offset }] of found.entries()) {
        expect((await read(offset)).map(({ text }) => text)).toEqual(
          found.slice(at + 1).map(({ text }) => text),
        )
      }
    }),
    { numRuns: 30 },
  )
})

describe('what is no line is left out', () => {
  test.each([
    ['an empty file', '', []],
    ['what is still being written', 'one\ntwo', ['one']],
    ['a line alone that is still being written', 'one', []],
    ['a line too long to be a record', `one\n${'x'.repeat(9 * mib)}\ntwo\n`, ['two', 'one']],
    ['a line too long at the beginning', `${'x'.repeat(9 * mib)}\ntwo\n`, ['two']],
    ['a line too long that has no end', `one\n${'x'.repeat(9 * mib)}`, ['one']],
    ['empty lines', '\n\none\n\n', ['one']],
  ])('%s', async (_, text, lines) => {
    writeFileSync(path, text)
    expect((await read()).map((line) => line.text)).toEqual(lines)
  })
})

test('a file that is cut while it is read gives what can still be read', async () => {
  writeFileSync(path, `${'x'.repeat(200)}\n`.repeat(5_000))
  const slice = await openAuditSlice(path)
  const found: PlacedLine[] = []
  for await (const lines of slice.backwards()) {
    found.push(...lines)
    writeFileSync(path, '')
    appendFileSync(path, 'y\n')
  }
  await slice.close()
  expect(found.length).toBeGreaterThan(0)
  expect(found.every(({ bytes }) => bytes.length === 200)).toBe(true)
})

test('a place is where a line begins, and nothing else', async () => {
  writeFileSync(path, 'one\ntwo\n')
  const slice = await openAuditSlice(path)
  const begins = await Promise.all([0, 1, 3, 4, 8, 9, 1_000_000].map((offset) => slice.beginsLine(offset)))
  await slice.close()
  expect(begins).toEqual([true, false, false, true, true, false, false])
})
