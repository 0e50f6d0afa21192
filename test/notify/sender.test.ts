// Notices over real HTTP and HTTPS, through a real store: who is told, once, whatever breaks on the way.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { Webhook } from 'standardwebhooks'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { NoticeEvent } from '../../src/approval/notices.ts'
import { type Destination, placeOf, waitingList } from '../../src/notify/notice.ts'
import { createNotices } from '../../src/notify/notices.ts'
import { type Pace, startSender } from '../../src/notify/sender.ts'
import type { Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { pairOf } from '../support/certificates.ts'
import { type Answers, type Received, startReceiver, type TestReceiver } from '../support/receiver.ts'
import { action, unspoken } from './subjects.ts'

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const events: Destination['events'] = ['approval.requested', 'approval.decided', 'draft.executed']
const bound = { timeout: 10_000, interval: 20 }
/** Impatient, so that tests of a few attempts end. */
const pace: Pace = { timeoutMs: 2_000, backOffMs: 20, maxBackOffMs: 40, pollMs: 20 }

let dir: string
let store: Store
const closers: (() => unknown)[] = []
/** Actions that nobody has to decide any more. */
const decided = new Set<string>()
const open = () => openEmbedded({ path: join(dir, 'leasegate.db'), maxStalenessMs: 2000 })

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-notify-'))
  store = await open()
  closers.push(
    () => rmSync(dir, { recursive: true }),
    () => store.close(),
  )
})
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function receiver(answers: Answers, ...rest: Parameters<typeof pairOf> | []): Promise<TestReceiver> {
  const started = await startReceiver(answers, rest[0] && (await pairOf(rest[0])))
  closers.push(() => started.close())
  return started
}

const yes: Answers = (response) => response.writeHead(204).end()
const standard = ({ url }: Pick<TestReceiver, 'url'>, over: Partial<Destination> = {}): Destination => ({
  url,
  format: 'standard',
  secret,
  events,
  ...over,
})

/** A sender as a process has it, and what it says about itself. */
function sender(destinations: readonly Destination[], { records } = store, over: Partial<Pace> = {}) {
  const lines: string[] = []
  const metrics = createMetrics({ backends: [], version: '1' })
  const log = createLogger({ level: 'debug', target: { write: (line) => lines.push(line) } })
  const consoleUrl = 'https://leasegate.example'
  const isPending = async (id: string) => !decided.has(id)
  const shared = { records, destinations, consoleUrl, isPending, clock: Date.now, metrics, log }
  const parts = { ...shared, pace: { ...pace, ...over } }
  const started = startSender(parts)
  closers.push(() => started.close())
  const metric = async (name: string) => {
    const { body } = await metrics.render()
    return body.split('\n').find((line) => line.startsWith(`${name} `))
  }
  return { ...started, lines, metric, metrics }
}

async function tell(destinations: readonly Destination[], subject = action(), event?: NoticeEvent) {
  const notices = createNotices({ destinations, clock: Date.now })
  const writes = notices.writes(event ?? 'approval.requested', subject)
  expect(await store.records.write(writes)).toBe(true)
  return writes
}

const waitingFor = (destination: Destination) =>
  store.records.list('notice', waitingList(placeOf(destination)), { limit: 100 })

/** As a receiver reads it: with the library, and by nothing but the message and the secret. */
const verified = ({ body, headers }: Received) =>
  new Webhook(secret).verify(body, headers as Record<string, string>)

describe('a standard webhook', () => {
  test('is signed, verifies with the library of the standard, and says what waits and where to decide', async () => {
    const place = await receiver(yes)
    sender([standard(place)])
    const subject = action()
    const [write] = await tell([standard(place)], subject)
    await expect.poll(() => place.received.length, bound).toBe(1)
    const [message] = place.received
    expect(message).toMatchObject({
      method: 'POST',
      path: '/services/path-that-is-a-secret',
      headers: { 'content-type': 'application/json', 'webhook-id': write?.id },
    })
    expect(verified(message!)).toEqual({
      type: 'approval.requested',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      data: {
        action: subject.id,
        kind: 'hold',
        state: 'pending',
        verb: 'delete',
        backend: 'crm',
        operation: 'DELETE /customers/{id}',
        risk: 'high',
        sensitivity: 'restricted',
        agent: 'support-triage',
        user: 'alice@example.com',
        expires_at: new Date(subject.expiresAt * 1000).toISOString(),
        url: `https://leasegate.example/console#/inbox/${subject.id}`,
      },
    })
    await expect.poll(() => waitingFor(standard(place)), bound).toEqual([])
  })

  test('does not verify once a byte of it, its id or its time is another, or with another secret', async () => {
    const place = await receiver(yes)
    sender([standard(place)])
    await tell([standard(place)])
    await expect.poll(() => place.received.length, bound).toBe(1)
    const [{ body, headers }] = place.received as [Received]
    const other = `whsec_${Buffer.alloc(32, 8).toString('base64')}`
    const sent = headers as Record<string, string>
    for (const [key, text, fields] of [
      [secret, body.replace('support-triage', 'support-triagf'), sent],
      [secret, body, { ...sent, 'webhook-id': 'msg_another' }],
      [secret, body, { ...sent, 'webhook-timestamp': String(Number(sent['webhook-timestamp']) + 1) }],
      [other, body, sent],
    ] as const) {
      expect(() => new Webhook(key).verify(text, fields)).toThrow('No matching signature found')
    }
  })

  test('goes over TLS to whom an authority vouches for, and to nobody else', async () => {
    const authority = await pairOf({ name: 'authority of the test', authority: true })
    const known = await receiver(yes, { name: 'localhost', by: authority })
    const stranger = await receiver(yes, { name: 'localhost' })
    const before = getCACertificates('default')
    setDefaultCACertificates([...before, authority.cert])
    closers.push(() => setDefaultCACertificates(before))
    const places = [standard(known), standard(stranger)]
    const { lines } = sender(places)
    await tell(places)
    await expect.poll(() => known.received.length, bound).toBe(1)
    expect(verified(known.received[0]!)).toBeDefined()
    await expect.poll(() => lines.join(''), bound).toContain('no answer (DEPTH_ZERO_SELF_SIGNED_CERT)')
    expect(stranger.received).toEqual([])
  })
})

test.each(['approval.requested', 'approval.decided', 'draft.executed'] as const)(
  'of %s no format repeats a resource, a path, a parameter, a purpose or a reason',
  async (event) => {
    const place = await receiver(yes)
    const slack = { ...standard(place), format: 'slack', secret: '' } as const
    sender([standard(place), slack])
    await tell([standard(place), slack], action({ state: 'executed' }), event)
    await expect.poll(() => place.received.length, bound).toBe(2)
    const told = place.received.map(({ body }) => body).join()
    for (const word of unspoken) expect(told).not.toContain(word)
    expect(told).toContain('DELETE /customers/{id}')
  },
)

test('who did not ask for an event is not told of it', async () => {
  const place = await receiver(yes)
  const picky = standard(place, { events: ['draft.executed'] })
  expect(await tell([picky])).toEqual([])
  expect(await tell([])).toEqual([])
  expect(await tell([picky], action(), 'draft.executed')).toHaveLength(1)
})

describe('what a place answers', () => {
  const failures: [string, Answers][] = [
    ['500', (response) => response.writeHead(500).end('broken')],
    ['404', (response) => response.writeHead(404).end()],
    ['429', (response) => response.writeHead(429, { 'retry-after': '0' }).end()],
    ['a redirect', (response) => response.writeHead(302, { location: '/elsewhere' }).end()],
    ['a reset connection', (response) => response.destroy()],
    ['nothing', () => {}],
    ['an informational status for ever', (response) => response.writeContinue()],
  ]
  test.each(failures)('%s: told again under the same id, signed anew, until it is taken', async (_, fail) => {
    const place = await receiver((response, number) => (number < 3 ? fail : yes)(response, number))
    const { metric, lines } = sender([standard(place)], store, { timeoutMs: 400 })
    await tell([standard(place)])
    await expect.poll(() => waitingFor(standard(place)), bound).toEqual([])
    expect(place.received.length).toBeGreaterThanOrEqual(3)
    expect(new Set(place.received.map(({ path }) => path))).toEqual(
      new Set(['/services/path-that-is-a-secret']),
    )
    expect(new Set(place.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    for (const message of place.received) expect(verified(message)).toBeDefined()
    const failed = Number((await metric('leasegate_notices_total{result="failed"}'))?.split(' ').at(-1))
    expect(failed).toBeGreaterThanOrEqual(2)
    expect(lines).toHaveLength(failed)
    expect(await metric('leasegate_notices_total{result="sent"}')).toMatch(/ 1$/)
  })

  test('200 and a body without end: taken, and not read', async () => {
    let ended = false
    const place = await receiver((response) => {
      response.on('close', () => {
        ended = true
      })
      const more = () => response.writable && response.write(Buffer.alloc(65_536), more)
      response.writeHead(200)
      more()
    })
    sender([standard(place)])
    await tell([standard(place)])
    await expect.poll(() => ended, bound).toBe(true)
    await expect.poll(() => waitingFor(standard(place)), bound).toEqual([])
    expect(place.received).toHaveLength(1)
  })

  test('410: never told again, though others are', async () => {
    const gone = await receiver((response) => response.writeHead(410).end())
    const place = await receiver(yes)
    const places = [standard(gone), standard(place)]
    const { metric } = sender(places)
    await tell(places)
    await expect.poll(() => metric('leasegate_notices_total{result="gone"}'), bound).toMatch(/ 1$/)
    for (let more = 0; more < 5; more++) await tell(places)
    await expect.poll(() => place.received.length, bound).toBe(6)
    await expect.poll(() => waitingFor(standard(place)), bound).toEqual([])
    expect(gone.received).toHaveLength(1)
    expect(await waitingFor(standard(gone))).toHaveLength(5)
  })

  test('nothing until nobody can decide any more: given up', async () => {
    const place = await receiver((response) => response.writeHead(500).end())
    const { metric } = sender([standard(place)], store, { timeoutMs: 300, backOffMs: 100 })
    await tell([standard(place)], action({ expiresAt: Date.now() / 1000 + 1 }))
    await expect.poll(() => metric('leasegate_notices_total{result="given_up"}'), bound).toMatch(/ 1$/)
    await expect.poll(() => metric('leasegate_notices_waiting'), bound).toMatch(/ 0$/)
    expect(await waitingFor(standard(place))).toEqual([])
  })
})

test('a place that hangs holds up nobody else', async () => {
  const hangs = await receiver(() => {})
  const place = await receiver(yes)
  const places = [standard(hangs), standard(place)]
  for (let each = 0; each < 8; each++) await tell(places)
  const { metric } = sender(places, store, { timeoutMs: 60_000 })
  await expect.poll(() => place.received.length, bound).toBe(8)
  expect(hangs.received).toHaveLength(4)
  await expect.poll(() => metric('leasegate_notices_waiting'), bound).toMatch(/ 8$/)
})

test.each([
  ['approval.requested', 'hold', 'nobody is told'],
  ['approval.requested', 'draft', 'nobody is told'],
  ['approval.requested', 'lease', 'nobody is told'],
  ['approval.decided', 'hold', 'it is told'],
  ['draft.executed', 'draft', 'it is told'],
] as const)('%s of a %s about which there is nothing left to decide: %s', async (event, kind, what) => {
  const place = await receiver(yes)
  const subject = { ...action({ id: 'act_decided' }), kind }
  decided.add(subject.id)
  closers.push(() => decided.clear())
  const notices = createNotices({ destinations: [standard(place)], clock: Date.now })
  expect(await store.records.write(notices.writes(event, subject))).toBe(true)
  sender([standard(place)])
  await expect.poll(() => waitingFor(standard(place)), bound).toEqual([])
  expect(place.received).toHaveLength(what === 'it is told' ? 1 : 0)
})

test.each([
  ['is no JSON', /^.*$/s, '{"event":'],
  ['is no object', /^.*$/s, '[]'],
  ['has no data', /"data":\{.*\}/s, '"data":null'],
  ['has a number for a name', /"agent":"[^"]+"/, '"agent":7'],
  ['has no number of attempts', /"attempts":0/, '"attempts":null'],
])('a stored notice that %s is told to nobody, and holds up nobody', async (_, pattern, instead) => {
  const place = await receiver(yes)
  const notices = createNotices({ destinations: [standard(place)], clock: Date.now })
  const [whole] = notices.writes('approval.requested', action())
  for (let each = 0; each < 8; each++) {
    const altered = { ...whole!, id: `msg_altered_${each}`, text: whole!.text!.replace(pattern, instead) }
    expect(await store.records.write([altered])).toBe(true)
  }
  sender([standard(place)])
  await tell([standard(place)])
  await expect.poll(() => waitingFor(standard(place)), bound).toEqual([])
  expect(place.received).toHaveLength(1)
})

test('however much waits, no place is told more than four times in a pause', async () => {
  const place = await receiver(yes)
  for (let each = 0; each < 9; each++) await tell([standard(place)])
  sender([standard(place)], store, { pollMs: 600_000 })
  await expect.poll(() => waitingFor(standard(place)), bound).toHaveLength(5)
  expect(place.received).toHaveLength(4)
})

test('of two processes exactly one sends each', async () => {
  const place = await receiver(yes)
  const other = await open()
  closers.push(() => other.close())
  sender([standard(place)], store, { timeoutMs: 60_000 })
  sender([standard(place)], other, { timeoutMs: 60_000 })
  for (let each = 0; each < 40; each++) await tell([standard(place)])
  await expect.poll(() => waitingFor(standard(place)), bound).toEqual([])
  const ids = place.received.map(({ headers }) => headers['webhook-id'])
  expect(ids).toHaveLength(40)
  expect(new Set(ids).size).toBe(40)
})

test('a process that ends in the middle of an attempt: another one makes it, under the same id', async () => {
  const place = await receiver((response, number) => number > 1 && yes(response, number))
  const first = sender([standard(place)])
  await tell([standard(place)])
  await expect.poll(() => place.received.length, bound).toBe(1)
  await first.close()
  expect(await waitingFor(standard(place))).toHaveLength(1)
  sender([standard(place)])
  await expect.poll(() => place.received.length, bound).toBe(2)
  const [before, after] = place.received.map(({ headers }) => headers['webhook-id'])
  expect(after).toBe(before)
  expect(first.lines).toEqual([])
})

test('neither the secret nor the URL of a place is in the store, the log or the metrics', async () => {
  const place = await receiver((response, number) => response.writeHead(number < 3 ? 500 : 410).end())
  const { lines, metrics } = sender([standard(place)])
  const writes = await tell([standard(place)])
  await expect.poll(() => lines.join(''), bound).toContain('410')
  const said = [...lines, JSON.stringify(writes), (await metrics.render()).body].join()
  expect(said).not.toContain(secret.slice('whsec_'.length))
  expect(said).not.toContain('path-that-is-a-secret')
  expect(lines.join()).toContain(new URL(place.url).host)
})

test('a place that is told no more waits for its time to end, and somebody who took its URL gets nothing of it', async () => {
  const place = await receiver(yes)
  const before = standard(place, { url: `${place.url}/before` })
  await tell([before])
  sender([standard(place)])
  await tell([standard(place)])
  await expect.poll(() => waitingFor(standard(place)), bound).toEqual([])
  expect(place.received.map(({ path }) => path)).toEqual(['/services/path-that-is-a-secret'])
  expect(await waitingFor(before)).toHaveLength(1)
})
