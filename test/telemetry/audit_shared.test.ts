// One audit file, several processes that write to it: every record whole and once, in its writer's order, whatever
// becomes of the others, of the disk and of the file's name.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openAuditFile } from '../../src/telemetry/audit_file.ts'
import { eventually } from '../support/gate.ts'

const writer = fileURLToPath(new URL('audit_writer.ts', import.meta.url))
let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-audit-'))
  path = join(dir, 'audit.jsonl')
})
afterEach(() => rmSync(dir, { recursive: true }))

interface Written {
  readonly child: ChildProcess
  readonly exited: Promise<unknown>
  /** Numbers that were acknowledged as durable. */
  acknowledged(): number[]
}

/** `blocks`: the kernel lets no file grow beyond so many KiB. */
function write(name: string, count: number, blocks?: number): Written {
  const args = [writer, path, name, String(count)]
  const child =
    blocks === undefined
      ? spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      : spawn('bash', ['-c', `ulimit -f ${blocks}; exec "$@"`, 'bash', process.execPath, ...args], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
  let text = ''
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  return {
    child,
    exited: once(child, 'close'),
    acknowledged: () => text.split('\n').slice(0, -1).map(Number),
  }
}

/** Of all files in their order: the numbers that each writer wrote, and how many lines are no records. */
function readAll() {
  const files = readdirSync(dir).toSorted((a, b) => b.length - a.length || (a < b ? -1 : 1))
  const lines = files.flatMap((file) => readFileSync(join(dir, file), 'utf8').split('\n').slice(0, -1))
  const numbers = new Map<string, number[]>()
  let cut = 0
  for (const line of lines) {
    const record = recordIn(line)
    if (record === undefined) cut++
    else if (record.name !== undefined)
      numbers.set(record.name, [...(numbers.get(record.name) ?? []), record.n])
  }
  return { numbers, cut }
}

function recordIn(line: string): { name?: string; n: number } | undefined {
  try {
    return JSON.parse(line) as { name?: string; n: number }
  } catch {
    return undefined
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n)

test('three at once, records of up to 9 KB: none is cut, none is missing, no line is empty', async () => {
  const writers = ['a', 'b', 'c'].map((name) => write(name, 1500))
  await Promise.all(writers.map(({ exited }) => exited))
  const { numbers, cut } = readAll()
  expect(cut).toBe(0)
  for (const name of ['a', 'b', 'c']) expect(numbers.get(name)).toEqual(upTo(1500))
}, 60_000)

test('killed in the middle: at most its own last line is cut, and what it was told is durable is there', async () => {
  const [killed, other] = [write('killed', 100_000), write('other', 1500)]
  await eventually(() => killed.acknowledged().length > 20, 'some records', 30)
  killed.child.kill('SIGKILL')
  await Promise.all([killed.exited, other.exited])
  const { numbers, cut } = readAll()
  expect(cut).toBeLessThanOrEqual(1)
  // The record that was written on in the cut line is behind the others of its batch.
  expect(numbers.get('other')!.toSorted((x, y) => x - y)).toEqual(upTo(1500))
  const written = numbers.get('killed')!
  expect(written).toEqual(upTo(written.length))
  expect(written.length).toBeGreaterThan(killed.acknowledged().at(-1)!)
}, 60_000)

test('moved away at any moment: all go on in the new file, in order', async () => {
  const writers = ['a', 'b'].map((name) => write(name, 3000))
  for (const number of [3, 2, 1]) {
    await eventually(
      () => writers.every(({ acknowledged }) => acknowledged().length > (4 - number) * 40),
      'records',
      30,
    )
    renameSync(path, `${path}.${number}`)
    for (const { child } of writers) child.kill('SIGHUP')
  }
  await Promise.all(writers.map(({ exited }) => exited))
  const { numbers, cut } = readAll()
  expect(cut).toBe(0)
  for (const name of ['a', 'b']) expect(numbers.get(name)!.toSorted((x, y) => x - y)).toEqual(upTo(3000))
}, 60_000)

test('no room for a while: what was taken is written whole and once in the end', async () => {
  const writers = ['a', 'b'].map((name) => write(name, 400, 512))
  const ended = Promise.all(writers.map(({ exited }) => exited))
  let over = false
  void ended.then(() => {
    over = true
  })
  for (let number = 9; !over && number > 0; number--) {
    await eventually(() => over || sizeOf(path) >= 512 * 1024, 'a full file', 30)
    if (!over) renameSync(path, `${path}.${number}`)
  }
  await ended
  const { numbers } = readAll()
  for (const [index, { acknowledged }] of writers.entries()) {
    const written = numbers.get(['a', 'b'][index]!)!
    expect(new Set(written).size).toBe(written.length)
    // What asks for durability is refused while there is no room, and that is its writer's to handle.
    expect(written.filter((n) => n % 10 !== 0).toSorted((x, y) => x - y)).toEqual(
      upTo(400).filter((n) => n % 10 !== 0),
    )
    expect(written).toEqual(expect.arrayContaining(acknowledged()))
  }
}, 120_000)

test('behind a line that somebody cut short, records stand on lines of their own', async () => {
  const sink = await openAuditFile(path, { shared: true, onError: () => {} })
  sink.append('{"n":1}')
  await turn()
  await turn()
  writeFileSync(path, '{"cut', { flag: 'a' })
  await sink.appendDurably('{"n":2}')
  await sink.appendDurably('{"n":3}')
  await sink.reopen()
  await sink.close()
  expect(readFileSync(path, 'utf8')).toBe('{"n":1}\n{"cut{"n":2}\n{"n":2}\n{"n":3}\n')
})

const turn = () => new Promise((resolve) => setImmediate(resolve))

function sizeOf(file: string): number {
  try {
    return readFileSync(file).byteLength
  } catch {
    return 0
  }
}
