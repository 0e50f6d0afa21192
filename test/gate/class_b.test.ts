// Bad-input class B over raw sockets: path and query canonicality. What the gate decided on is what the
// backend gets, byte for byte; what two parsers could read differently gets nowhere.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  crmOperations,
  eventually,
  grantsFor,
  message,
  startTestGate,
  type TestGate,
} from '../support/gate.ts'
import { nothingFollows, type RefusedRow, refusedRows } from './matrix.ts'

let gate: TestGate
beforeAll(async () => {
  const admin = { verb: 'read', resource: 'admin', sensitivity: 'internal' }
  gate = await startTestGate({
    crm: {
      operations: [
        ...crmOperations,
        { match: 'GET /admin', ...admin },
        { match: 'GET /public/{id}', ...admin, resource: 'public/{id}' },
        { match: 'GET /public/export', ...admin, resource: 'export', sensitivity: 'restricted' },
        { match: 'GET /search', ...admin, resource: 'search', opaque_query: ['tag'] },
      ],
    },
  })
})
afterAll(() => gate.close())

const granted = ['customer', 'customer/*', 'admin', 'public/*', 'search', 'project/*']
const token = () => gate.token({ authorization_details: grantsFor('crm', granted) })

const malformed = { status: 400, code: 'malformed_request' } as const

/** One row per target; the token of the row may do everything. */
function targets(
  row: string,
  list: readonly string[],
  expected: Pick<RefusedRow, 'status' | 'code' | 'also'> = malformed,
): RefusedRow[] {
  return list.map((target) => ({
    row,
    name: target,
    send: () => message({ target, token: token() }),
    ...expected,
  }))
}

describe('paths that can be read in two ways', () => {
  refusedRows(
    () => gate,
    [
      ...targets('B1', [
        '/crm/public/../admin',
        '/crm/./admin',
        '/crm/admin/.',
        '/crm/admin/..',
        '/crm/api../admin',
        '/crm/public/...',
        '/crm/../crm/admin',
        '/../crm/admin',
        '/crm/a/b/c/../../../admin',
        '/..',
        '/.',
      ]),
      ...targets('B2', [
        '/crm/public/%2e%2e/admin',
        '/crm/public/%2E%2E/admin',
        '/crm/public/.%2e/admin',
        '/crm/public/%2e./admin',
        '/crm/%2e/admin',
        '/crm/public/a%2e%2e',
        '/crm/public/a%2Ejson',
        '/%2e%2e/crm/admin',
      ]),
      ...targets('B3', [
        '/crm/public/a%2Fb',
        '/crm/public/a%2fb',
        '/crm%2Fadmin',
        '/crm/public%2Fadmin',
        '/crm/public/a%5Cb',
        '/crm/public/a%5cb',
        '/crm/public/..%2fadmin',
        '/crm/public/..%5Cadmin',
      ]),
      ...targets('B4', [
        '//crm/admin',
        '/crm//admin',
        '//admin/x',
        '/crm/admin//',
        '/crm/public//',
        '//',
        '///crm',
      ]),
      ...targets('B5', [
        '/crm/%61dmin',
        '/%63rm/admin',
        '/crm/admi%6E',
        '/crm/public/%30',
        '/crm/public/%7e',
        '/crm/public/a%2Db',
        '/crm/public/a%5Fb',
      ]),
      ...targets('B6', [
        '/crm/public/%252e%252e',
        '/crm/public/%25',
        '/crm/public/%25252e',
        '/crm/public/a%2541',
        '/crm/public/%00',
        '/crm/public/a%0d%0ab',
        '/crm/public/%7F',
        '/crm/public/%c2%85',
        '/crm/public/%',
        '/crm/public/%2',
        '/crm/public/%g0',
        '/crm/public/%u0041',
        '/crm/public/%c0%af',
        '/crm/public/%ff',
        '/crm/public/%ed%a0%80',
        '/crm/public/%e2%82',
        '/crm/public/%f4%90%80%80',
      ]),
      ...targets('B7', [
        '/crm/admin;x=1',
        '/crm/public/a;x=1/b',
        '/crm;a/admin',
        '/crm/public/;',
        '/crm/public/%3Ba',
      ]),
      ...targets('B9', [
        '/crm/mypath%3Ffoo=bar',
        '/crm/public/a%3fb',
        '/crm/public/a%23b',
        '/crm/admin%23',
        '/crm/admin%3F',
      ]),
    ],
  )
})

describe('B8 paths that only resemble a rule', () => {
  const unmapped = { status: 404, code: 'operation_unmapped' } as const
  refusedRows(
    () => gate,
    targets(
      'B8',
      [
        '/crm/ADMIN',
        '/crm/Admin',
        '/CRM/admin',
        '/crm/admin/',
        '/crm/admin.json',
        '/crm/admin.',
        '/crm/adminx',
        '/crm/admin/x',
        '/crm/admi',
        '/crm',
        '/crm/',
        '/crmx/admin',
        '/crm/public/',
        '/crm/public/a/b',
        '/crm/public/EXPORT',
        '/crm/public/export.json',
        '/crm/public/export.',
        '/crm/public/%EF%BD%85xport',
        '/crm/public/exp%E2%81%A0ort',
        '/admin',
        '/',
      ],
      unmapped,
    ),
  )

  refusedRows(
    () => gate,
    ['/crm/admin', '/crm/ADMIN', '/nothing/here'].map((target) => ({
      row: 'B8',
      name: `${target} without a token`,
      send: () => message({ target }),
      status: 401,
      code: 'lease_missing',
    })),
  )
})

describe('queries', () => {
  refusedRows(
    () => gate,
    [
      ...targets(
        'B10',
        [
          'id=1&id=2',
          'id=1&ID=2',
          'id[]=1',
          'id[a]=1',
          'id%5B%5D=1',
          'id=1;id=2',
          'a=1&%69d=2',
          'id=%2531',
          'id=1&i%64=2',
          '=1',
          'id=%00',
          'id=%ff',
          'id=%',
          'id&id',
          'id=1&id',
        ].map((query) => `/crm/search?${query}`),
      ),
      ...targets('B10', [
        '/crm/search?_method=DELETE',
        '/crm/search?_METHOD=DELETE',
        '/crm/search?%5fmethod=DELETE',
      ]),
    ],
  )

  const secret = 'tok_3f1c77e0'
  const inQuery = (
    answer: { headers: Readonly<Record<string, string>> },
    problem: Readonly<Record<string, unknown>>,
  ) => {
    expect(problem.error).toBe('invalid_request')
    expect(answer.headers['www-authenticate']).toContain('error="invalid_request"')
  }
  refusedRows(
    () => gate,
    targets(
      'B11',
      [
        `/crm/search?access_token=${secret}`,
        `/crm/search?a=1&access_token=${secret}`,
        `/crm/search?ACCESS_TOKEN=${secret}`,
        `/crm/search?access%5Ftoken=${secret}`,
        `/crm/search?access_token=${secret}&access_token=${secret}`,
        `/nothing?access_token=${secret}`,
      ],
      { status: 400, code: 'credential_in_query', also: inQuery },
    ),
  )

  test('B11 the value is nowhere in the audit file or the log', () => {
    expect(gate.auditText()).toContain('credential_in_query')
    expect(gate.auditText()).not.toContain(secret)
    expect(gate.logText()).not.toContain(secret)
  })
})

describe('what is forwarded, byte for byte', () => {
  refusedRows(
    () => gate,
    targets('B12b', [
      '/crm/projects/..%2Fadmin',
      '/crm/projects/a%2F..%2Fb',
      '/crm/projects/a%2f..',
      '/crm/projects/.%2Fb',
      '/crm/projects/a%2F.',
      '/crm/projects/%2Fa',
      '/crm/projects/a%2F',
      '/crm/projects/a%2F%2Fb',
      '/crm/projects/a%2F..%5Cb',
      '/crm/projects/a%252Fb',
      '/crm/projects/a%5Cb',
    ]),
  )

  const forwarded = [
    ['B12a', '/crm/projects/a%2Fb', 'crm:project/a%2Fb'],
    ['B12a', '/crm/projects/a%2fb%2Fc', 'crm:project/a%2Fb%2Fc'],
    ['B12a', '/crm/projects/group%2Fsub%2Fapp?ref=main', 'crm:project/group%2Fsub%2Fapp'],
    ['an encoded space within', '/crm/public/a%20b', 'crm:public/a b'],
    ['a dot in an id', '/crm/public/9821.5', 'crm:public/9821.5'],
    ['UTF-8', '/crm/public/%C3%A4', 'crm:public/ä'],
    ['sub-delimiters', "/crm/public/a!$&'()*+,=:@b", "crm:public/a!$&'()%2A+,=:@b"],
    ['an opaque parameter repeats', '/crm/search?tag=1&tag=2&q=x', 'crm:search'],
    ['an empty query', '/crm/search?', 'crm:search'],
    ['a query with path marks', '/crm/search?q=/../a?b', 'crm:search'],
  ] as const
  test.each(forwarded)('%s %s', async (_, target, resource) => {
    const before = gate.records().length
    const seen = gate.backend.requests.length
    const { status } = await gate.ask(message({ target, token: token() }))
    expect(status).toBe(200)
    await eventually(() => gate.backend.requests.length > seen, 'the request')
    expect(gate.backend.requests[seen]?.url).toBe(target.slice('/crm'.length))
    const records = await gate.recordsAfter(before)
    expect(records.map(({ what }) => [what.resource, what.path])).toEqual([[resource, target.split('?')[0]]])
  })

  refusedRows(
    () => gate,
    targets('F2', [
      '/crm/customers/9821%20',
      '/crm/customers/%209821',
      '/crm/customers/9821%C2%A0',
      '/crm/admin%20',
    ]),
  )
})

nothingFollows(
  () => gate,
  () => gate.ask(message({ token: gate.token() })),
)
