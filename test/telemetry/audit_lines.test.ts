// Lines of audit files, however the bytes come.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { auditLines, maxLineBytes } from '../../src/telemetry/audit_lines.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-lines-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

function fileOf(bytes: string | Uint8Array, name = 'audit.jsonl'): string {
  writeFileSync(join(dir, name), bytes)
  return join(dir, name)
}

/** Lines with their numbers, and how many bytes were read in the end. */
async function linesOf(file: string) {
  const lines: [number, string][] = []
  let bytes = 0
  for await (const batch of auditLines(file)) {
    for (const [at, line] of batch.lines.entries()) lines.push([batch.first + at, line])
    bytes = batch.bytesRead
  }
  return { lines, bytes }
}

it.each([
  ['no line', '', []],
  ['a line', 'a\n', ['a']],
  ['a last line without its end', 'a\nb', ['a', 'b']],
  ['an empty line', 'a\n\nb\n', ['a', '', 'b']],
  ['other characters', 'ü\u2028x\n🙂\n', ['ü\u2028x', '🙂']],
])('%s', async (_name, text, expected) => {
  const numbered = expected.map((line, at) => [at + 1, line])
  expect(await linesOf(fileOf(text))).toEqual({ lines: numbered, bytes: Buffer.byteLength(text) })
})

it('lines across chunks, compressed in several runs or not', async () => {
  const all = Array.from({ length: 3_000 }, (_, n) => `${n} ${'ü'.repeat(n % 1_500)}`)
  const numbered = all.map((line, at) => [at + 1, line])
  expect((await linesOf(fileOf(`${all.join('\n')}\n`))).lines).toEqual(numbered)
  const parts = [all.slice(0, 1_000), all.slice(1_000)].map((part) => gzipSync(`${part.join('\n')}\n`))
  const packed = Buffer.concat(parts)
  expect(await linesOf(fileOf(packed, 'audit.jsonl.1.gz'))).toEqual({ lines: numbered, bytes: packed.length })
})

it('a line longer than any record is cut, and the next one is whole', async () => {
  const { lines } = await linesOf(fileOf(`${'x'.repeat(maxLineBytes + 5_000_000)}\nnext\n`))
  expect(lines.map(([at, line]) => [at, line.length])).toEqual([
    [1, maxLineBytes],
    [2, 4],
  ])
})

it.each([
  ['a file that is not there', () => join(dir, 'none'), 'ENOENT'],
  [
    'a compressed file that was cut',
    () => fileOf(gzipSync('a\n').subarray(0, -4), 'cut.gz'),
    'unexpected end',
  ],
  ['a file that is not compressed', () => fileOf('a\n', 'plain.gz'), 'incorrect header'],
])('%s is an error', async (_name, file, message) => {
  await expect(linesOf(file())).rejects.toThrow(message)
})
