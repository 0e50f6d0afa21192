// How several workers start and end: one message when they cannot, none left behind when they are told to stop or
// lose their supervisor.
import { createServer } from 'node:http'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { eventually } from '../support/gate.ts'
import { TwoWorkers } from '../support/workers.ts'

let gate: TwoWorkers
beforeEach(async () => {
  gate = await TwoWorkers.start({ limits: { drain: '2s' } })
}, 60_000)
afterEach(() => gate[Symbol.asyncDispose]())

const lives = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s: all end, with 0',
  async (signal) => {
    const pids = await gate.pids()
    expect(await gate.call(gate.token())).toEqual({ status: 200 })
    expect(await gate.served.stop(signal)).toBe(0)
    expect(pids.filter(lives)).toEqual([])
    expect(gate.served.output()).not.toContain('"level":"error"')
  },
  60_000,
)

test('a terminal tells everybody at once: that ends it no differently', async () => {
  const pids = await gate.pids()
  for (const pid of pids) process.kill(pid, 'SIGINT')
  expect(await gate.call(gate.token())).toEqual({ status: 200 })
  expect(await gate.pids()).toEqual(pids)
}, 60_000)

test('a supervisor that is killed takes its workers with it', async () => {
  const pids = await gate.pids()
  await gate.served.stop('SIGKILL')
  await eventually(() => !pids.some(lives), 'the end of the workers', 30)
}, 60_000)

test('a port that is taken: said once, and nothing stays', async () => {
  expect(await gate.served.stop('SIGTERM')).toBe(0)
  await using _taken = await occupied(gate.port)
  const { code, stderr } = await gate.place.run(['serve', '--config', gate.place.config])
  expect(code).toBe(1)
  expect(stderr).toBe(`leasegate: listen.proxy 127.0.0.1:${gate.port}: another process listens there\n`)
}, 60_000)

async function occupied(port: number): Promise<AsyncDisposable> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return server
}
