// The audit file, on a real file system: order, durability, crashes, rotation, and a disk that refuses.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type AuditFile, openAuditFile } from '../../src/telemetry/audit_file.ts'

let dir: string
let path: string
let errors: Error[]
let lost: number

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-audit-'))
  path = join(dir, 'data', 'audit.jsonl')
  errors = []
  lost = 0
})
afterEach(() => rmSync(dir, { recursive: true }))

function open(): Promise<AuditFile> {
  return openAuditFile(path, {
    onError: (error) => errors.push(error),
    onLost: (count) => {
      lost += count
    },
  })
}

const turn = () => new Promise((resolve) => setImmediate(resolve))
const linesOf = (file: string) =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')

describe('an audit file', () => {
  it('is readable by its owner alone, and so is the directory made for it', async () => {
    const sink = await open()
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(join(dir, 'data')).mode & 0o777).toBe(0o700)
    await sink.close()
  })

  it('holds records in the order they came, within a turn of the event loop', async () => {
    const sink = await open()
    for (let n = 0; n < 100; n++) sink.append(`{"n":${n}}`)
    expect(linesOf(path)).toEqual([])
    await turn()
    await turn()
    expect(linesOf(path)).toEqual(Array.from({ length: 100 }, (_, n) => `{"n":${n}}`))
    await sink.close()
  })

  it('has a durable record once its promise resolves, in order with the others', async () => {
    const sink = await open()
    sink.append('{"n":0}')
    const durable = Array.from({ length: 50 }, (_, n) => sink.appendDurably(`{"n":${n + 1}}`))
    sink.append('{"n":51}')
    await Promise.all(durable)
    expect(linesOf(path)).toEqual(Array.from({ length: 52 }, (_, n) => `{"n":${n}}`))
    await sink.close()
  })

  it('writes what is queued when it is closed, and takes nothing afterwards', async () => {
    const sink = await open()
    sink.append('{"n":0}')
    const durable = sink.appendDurably('{"n":1}')
    await sink.close()
    await durable
    expect(linesOf(path)).toEqual(['{"n":0}', '{"n":1}'])
    expect(sink.fault()).toBe('the audit file is closed')
    await expect(sink.appendDurably('{"n":2}')).rejects.toThrow('closed')
    sink.append('{"n":3}')
    expect(lost).toBe(1)
    expect(linesOf(path)).toHaveLength(2)
  })

  it('keeps what is there and ends a line that a crash cut short', async () => {
    await (await open()).close()
    writeFileSync(path, '{"n":0}\n{"n":1,"cut')
    const sink = await open()
    sink.append('{"n":2}')
    await sink.close()
    expect(readFileSync(path, 'utf8')).toBe('{"n":0}\n{"n":1,"cut\n{"n":2}\n')
  })

  it('does not start where records could not be written', async () => {
    path = '/dev/null'
    await expect(open()).rejects.toThrow('not a regular file')
    path = dir
    await expect(open()).rejects.toThrow('EISDIR')
  })

  it('goes on in a new file after rotation, and loses nothing', async () => {
    const sink = await open()
    sink.append('{"n":0}')
    const durable = sink.appendDurably('{"n":1}')
    renameSync(path, `${path}.1`)
    await sink.reopen()
    await durable
    sink.append('{"n":2}')
    await sink.close()
    expect(linesOf(`${path}.1`)).toEqual(['{"n":0}', '{"n":1}'])
    expect(linesOf(path)).toEqual(['{"n":2}'])
  })

  it('stays with the old file when the new one cannot be opened', async () => {
    const sink = await open()
    renameSync(join(dir, 'data'), join(dir, 'moved'))
    await expect(sink.reopen()).rejects.toThrow('ENOENT')
    await sink.appendDurably('{"n":0}')
    await sink.close()
    expect(linesOf(join(dir, 'moved', 'audit.jsonl'))).toEqual(['{"n":0}'])
    expect(existsSync(path)).toBe(false)
  })
})

describe('a disk that refuses', () => {
  it('makes a fault, rejects durable records, and gets the 10,000 kept ones once it takes them again', () => {
    const child = fileURLToPath(new URL('audit_child.ts', import.meta.url))
    const file = join(dir, 'audit.jsonl')
    const shell = `ulimit -f 512; exec "${process.execPath}" "${child}" "${file}"`
    const run = spawnSync('bash', ['-c', shell], { encoding: 'utf8' })
    expect(run.stderr).toBe('')
    const told = JSON.parse(run.stdout)
    const message = 'the audit file cannot be written: EFBIG'
    // The record that did not fit is kept, and 9,999 of the 10,100 after it.
    expect(told).toMatchObject({ durable: message, fault: message, errors: [message], lost: 101 })

    const old = linesOf(`${file}.1`)
    const complete = old.slice(0, -1).map((line) => JSON.parse(line).n)
    const after = linesOf(file).map((line) => JSON.parse(line))
    const numbers = [...complete, ...after.slice(0, -1).map(({ n }) => n)]
    expect(numbers).toEqual(Array.from({ length: told.written - 101 }, (_, n) => n))
    expect(after.at(-1)).toMatchObject({ event: 'audit_recovered', fault: message, lost: 101 })
  })
})
