// Several processes and one outbox: on SQLite with a process that is killed, on Redis with one that is gone a while.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { placeOf, waitingList } from '../../src/notify/notice.ts'
import { createNotices } from '../../src/notify/notices.ts'
import { startSender } from '../../src/notify/sender.ts'
import type { Records } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { openRedis } from '../../src/stores/redis.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { startReceiver } from '../support/receiver.ts'
import { startRedis } from '../support/redis.ts'
import { action, placeAt } from './subjects.ts'

const bound = { timeout: 10_000, interval: 20 }
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const waiting = (records: Records, { url }: { url: string }) =>
  records.list('notice', waitingList(placeOf(placeAt(url))), { limit: 100 })

async function tell(records: Records, { url }: { url: string }): Promise<void> {
  const parts = { destinations: [placeAt(url)], clock: Date.now }
  expect(await records.write(createNotices(parts).writes('approval.requested', action()))).toBe(true)
}

function sender(records: Records, { url }: { url: string }, timeoutMs = 60_000): string[] {
  const lines: string[] = []
  const started = startSender({
    records,
    destinations: [placeAt(url)],
    consoleUrl: 'https://leasegate.example',
    isPending: async () => true,
    clock: Date.now,
    metrics: createMetrics({ backends: [], version: '1' }),
    log: createLogger({ level: 'debug', target: { write: (line) => lines.push(line) } }),
    pace: { timeoutMs, backOffMs: 20, pollMs: 20 },
  })
  closers.push(() => started.close())
  return lines
}

test('a process that is killed while the place reads: the next one tells it, and then nobody any more', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-notify-'))
  const path = join(dir, 'leasegate.db')
  const { records, close } = await openEmbedded({ path, maxStalenessMs: 2000 })
  const place = await startReceiver((response, number) => number > 1 && response.end('ok'))
  closers.push(
    () => rmSync(dir, { recursive: true }),
    () => close(),
    () => place.close(),
  )
  const program = fileURLToPath(new URL('./notice-child.ts', import.meta.url))
  const child = spawn(process.execPath, [program, path, place.url], { stdio: 'ignore' })
  closers.push(() => child.kill('SIGKILL'))
  await tell(records, place)
  await expect.poll(() => place.received.length, bound).toBe(1)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(await waiting(records, place)).toHaveLength(1)
  sender(records, place)
  await expect.poll(() => waiting(records, place), bound).toEqual([])
  expect(place.received).toHaveLength(2)
})

test('on Redis: of two machines one sends each, and a server that is away for a while loses nothing', async () => {
  const server = await startRedis()
  const options = { url: server.url, prefix: 'leasegate-notify:', maxStalenessMs: 2000, onError: () => {} }
  const stores = await Promise.all([openRedis(options), openRedis(options)])
  const place = await startReceiver((response) => response.end('ok'))
  closers.push(
    () => server.stop(),
    () => place.close(),
    ...stores.map((store) => () => store.close()),
  )
  const [one, other] = stores.map(({ records }) => records) as [Records, Records]
  const lines = [sender(one, place), sender(other, place)]
  for (let each = 0; each < 20; each++) await tell(each % 2 === 0 ? one : other, place)
  await expect.poll(() => waiting(one, place), bound).toEqual([])
  server.freeze()
  await expect
    .poll(() => lines.flat().join(), bound)
    .toContain('notices wait: they could not be looked through')
  server.thaw()
  // A write that timed out may have been done, so that the next one waits until the server is back.
  const back = () => waiting(one, place).then(({ length }) => length, String)
  await expect.poll(back, bound).toBe(0)
  await tell(one, place)
  await expect.poll(() => waiting(one, place), bound).toEqual([])
  const ids = new Set(place.received.map(({ headers }) => headers['webhook-id']))
  expect(place.received).toHaveLength(21)
  expect(ids.size).toBe(21)
})
