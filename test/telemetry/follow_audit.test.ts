// Lines as they are added to an audit file: by several writers, in pieces, through rotation and truncation.
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Following, followAudit } from '../../src/telemetry/follow_audit.ts'
import { eventually } from '../support/gate.ts'

let dir: string
let path: string
let found: string[]
let following: Following | undefined

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-follow-'))
  path = join(dir, 'audit.jsonl')
  found = []
})
afterEach(() => {
  following?.close()
  rmSync(dir, { recursive: true })
})

async function follow() {
  following = await followAudit(path, { onLines: (lines) => found.push(...lines), pollMs: 5 })
}
const until = (count: number) => eventually(() => found.length >= count, `${count} lines`)

test('what was there before is not told, what is added is', async () => {
  appendFileSync(path, 'old\n')
  await follow()
  appendFileSync(path, 'new\n')
  await until(1)
  expect(found).toEqual(['new'])
})

test('a line that had begun before is not told, and one that is cut in two is told once', async () => {
  appendFileSync(path, 'old\nbegun ')
  await follow()
  appendFileSync(path, 'before\nfirst ')
  appendFileSync(path, 'half é')
  appendFileSync(path, ' second half\n')
  await until(1)
  expect(found).toEqual(['first half é second half'])
})

test('a file that is not there yet is waited for', async () => {
  await follow()
  appendFileSync(path, 'one\n')
  await until(1)
  expect(found).toEqual(['one'])
})

test('after a rotation both files are followed: writers change over one after the other', async () => {
  appendFileSync(path, 'one\n')
  await follow()
  const slow = openSync(path, 'a')
  renameSync(path, join(dir, 'audit.jsonl.1'))
  writeSync(slow, 'two\n')
  appendFileSync(path, 'three\n')
  await until(2)
  writeSync(slow, 'four\n')
  closeSync(slow)
  await until(3)
  appendFileSync(path, 'five\n')
  await until(4)
  expect(found).toEqual(['two', 'three', 'four', 'five'])
})

test('a file that is cut is followed from its beginning', async () => {
  appendFileSync(path, 'x'.repeat(1000))
  await follow()
  truncateSync(path)
  appendFileSync(path, 'one\n')
  await until(1)
  expect(found).toEqual(['one'])
})

test('lines of 64 KiB, and pieces that end in the middle of one', async () => {
  await follow()
  const lines = Array.from({ length: 40 }, (_, at) => `${at} ${'x'.repeat(65_536)}`)
  appendFileSync(path, lines.map((line) => `${line}\n`).join(''))
  await until(40)
  expect(found).toEqual(lines)
})
