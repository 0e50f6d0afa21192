// Whatever is sent, over the socket: the backend gets the very bytes of the path that was sent and decided
// on, or nothing at all; and each request ends in one record.
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { authority, grantsFor, message, startTestGate, type TestGate } from '../support/gate.ts'
import { RawConnection } from '../support/raw.ts'

let gate: TestGate
beforeAll(async () => {
  const item = { verb: 'read', sensitivity: 'internal' }
  gate = await startTestGate({
    crm: {
      operations: [
        { match: 'GET /items', ...item, resource: 'item' },
        { match: 'GET /items/{id}', ...item, resource: 'item/{id}' },
        { match: 'GET /items/{id}/parts/{part}', ...item, resource: 'item/{id}/part/{part}' },
        { match: 'GET /files/{path}', ...item, resource: 'file/{path}', allow_encoded_slash: true },
      ],
    },
  })
})
afterAll(() => gate.close())

const octet = fc.constantFrom(...'abzAZ09-._~!$&()*+,=:@;/\\?#%[]{}|^"<> \'')
const encoded = fc.constantFrom(
  '%2F',
  '%2f',
  '%5C',
  '%2e',
  '%2E',
  '%25',
  '%20',
  '%61',
  '%00',
  '%C3%A4',
  '%C0%AF',
  '%',
)
const segment = fc.oneof(
  { weight: 5, arbitrary: fc.stringMatching(/^[a-z0-9._~-]{1,6}$/) },
  {
    weight: 3,
    arbitrary: fc.array(fc.oneof(octet, encoded), { minLength: 1, maxLength: 5 }).map((all) => all.join('')),
  },
  { weight: 1, arbitrary: fc.constantFrom('.', '..', '', 'items', 'files', 'parts') },
)
const path = fc.oneof(
  segment.map((id) => `/items/${id}`),
  segment.map((id) => `/files/${id}`),
  fc.tuple(segment, segment).map(([id, part]) => `/items/${id}/parts/${part}`),
  fc.array(segment, { maxLength: 4 }).map((all) => `/${all.join('/')}`),
)
const query = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  {
    weight: 2,
    arbitrary: fc.array(fc.oneof(octet, encoded), { maxLength: 8 }).map((all) => `?${all.join('')}`),
  },
)
const field = fc.tuple(
  fc.constantFrom(
    ...[
      'Accept',
      'X-Forwarded-Host',
      'X-Original-URL',
      'Forwarded',
      'Connection',
      'Via',
      'Lease-Id',
      'Cookie',
    ],
    ...['Upgrade', 'Expect', 'X_Host', 'Transfer-Encoding', 'Content-Length', 'Host', 'TE', 'Range'],
  ),
  fc.oneof(
    fc.constantFrom(
      'close',
      'keep-alive',
      'chunked',
      '0',
      'evil.example',
      authority,
      '/admin',
      'websocket',
      '',
    ),
    fc.stringMatching(/^[!-~]{0,10}$/),
  ),
)

test('the backend gets the bytes that were decided on, or none', async () => {
  const authorization_details = grantsFor('crm', ['item', 'item/*', 'file/*'])
  await fc.assert(
    fc.asyncProperty(path, query, fc.array(field, { maxLength: 3 }), async (sentPath, sentQuery, fields) => {
      const before = { records: gate.records().length, requests: gate.backend.requests.length }
      const target = `/crm${sentPath}${sentQuery}`
      const lines = fields.map(([name, value]) => `${name}: ${value}`)
      using connection = await RawConnection.open(gate.port)
      connection.write(message({ target, token: gate.token({ authorization_details }), fields: lines }))
      const { status } = await connection.answer()

      const records = await gate.recordsAfter(before.records)
      const requests = gate.backend.requests.slice(before.requests)
      expect(records).toHaveLength(1)
      expect(records[0]!.outcome.status).toBe(status)
      expect(requests).toHaveLength(status === 200 ? 1 : 0)
      // Node's parser takes several spaces before the version for one: they are not part of any target.
      const read = `${sentPath}${sentQuery}`.replace(/ +$/, '')
      const readPath = read.split('?', 1)[0]!
      for (const { url } of requests) {
        expect(url).toBe(read)
        expect(records[0]!.what.path).toBe(`/crm${readPath}`)
        expect(records[0]!.decision.effect).toBe('allow')
        expect(resourceOf(readPath)).toBe(records[0]!.what.resource)
      }
    }),
    {
      numRuns: 400,
      examples: [
        ['/items/~', '? ', []],
        ['/items/~ ', '', []],
        ['/items/~ ~', '', []],
      ],
    },
  )
})

/** What the path means, read as naively as a backend would: split first, decode each segment once. */
function resourceOf(sent: string): string {
  const [, kind, ...rest] = sent.split('/').map(decodeURIComponent)
  const quote = (text: string | undefined) =>
    (text ?? '').replace(/[/*%]/g, (mark) => ({ '/': '%2F', '*': '%2A' })[mark] ?? '%25')
  if (kind === 'files') return `crm:file/${quote(rest[0])}`
  if (rest.length === 0) return 'crm:item'
  return rest.length === 1
    ? `crm:item/${quote(rest[0])}`
    : `crm:item/${quote(rest[0])}/part/${quote(rest[2])}`
}

test('some of what is sent does get through', async () => {
  expect(gate.backend.requests.length).toBeGreaterThan(20)
  expect(gate.records().filter(({ decision }) => decision.effect === 'deny').length).toBeGreaterThan(20)
})
