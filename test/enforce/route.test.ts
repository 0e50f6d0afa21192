// From a request to one operation: which, with which parameters, and what a stranger may learn of it.
import { describe, expect, test } from 'vitest'
import { admit } from '../../src/enforce/authenticate.ts'
import type { Backend, Operation } from '../../src/enforce/operation.ts'
import { createRouter, route } from '../../src/enforce/route.ts'
import type { Mapped } from '../../src/enforce/stages.ts'
import { isRefusal, type Refusal } from '../../src/refusals.ts'
import {
  type Ask,
  accepted,
  backendOf,
  codeOf,
  leaseOf,
  operationOf,
  requestOf,
} from '../support/evidence.ts'

const operations = [
  operationOf('GET /users', { verb: 'list', resource: 'user' }),
  operationOf('GET /users/{id}', { resource: 'user/{id}' }),
  operationOf('GET /users/me', { resource: 'self', sensitivity: 'restricted' }),
  operationOf('GET /users/@all', { resource: 'everybody', sensitivity: 'restricted' }),
  operationOf('PATCH /users/{id}', { verb: 'update', resource: 'user/{id}' }),
  operationOf('GET /users/{id}/orders/{order}', { resource: 'user/{id}/order/{order}' }),
  operationOf('GET /projects/{id}', { resource: 'project/{id}', allowEncodedSlash: true }),
  operationOf('GET /search', { resource: 'search', opaqueQuery: ['tag', 'ids[]'] }),
]
const crm = backendOf({ operations })
const onHost = (name: string, more: Partial<Backend> = {}) =>
  backendOf({ name, pathPrefix: undefined, hosts: ['crm.gate.example'], operations, ...more })

function routed(ask: Ask, backends: readonly Backend[] = [crm]) {
  return route(requestOf(ask), createRouter(backends))
}
const mappedAt = (target: string, method = 'GET'): Mapped => accepted(routed({ target, method }).mapped)
const matchAt = (target: string, method = 'GET') => mappedAt(target, method).operation.match
const refusalAt = (target: string, method = 'GET'): string => codeOf(routed({ target, method }).mapped)

describe('one operation', () => {
  test('a literal comes before a parameter', () => {
    expect(matchAt('/crm/users/me')).toBe('GET /users/me')
    expect(matchAt('/crm/users/4711')).toBe('GET /users/{id}')
  })

  test('a literal that leads nowhere gives way to the parameter', () => {
    expect(matchAt('/crm/users/me/orders/1')).toBe('GET /users/{id}/orders/{order}')
    expect(matchAt('/crm/users/me', 'PATCH')).toBe('PATCH /users/{id}')
  })

  test('HEAD is judged as the GET it mirrors', () => {
    expect(matchAt('/crm/users/4711', 'HEAD')).toBe('GET /users/{id}')
  })

  test('HEAD that is mapped itself is itself', () => {
    const both = backendOf({
      operations: [operationOf('GET /a', { resource: 'a' }), operationOf('HEAD /a', { resource: 'b' })],
    })
    expect(routed({ target: '/crm/a', method: 'HEAD' }, [both]).mapped).toMatchObject({ resource: 'crm:b' })
  })

  test('parameters fill the resource and reach policy decoded', () => {
    expect(mappedAt('/crm/users/caf%C3%A9/orders/1')).toMatchObject({
      params: { id: 'café', order: '1' },
      resource: 'crm:user/café/order/1',
      backendPath: '/users/caf%C3%A9/orders/1',
    })
  })

  test.each([
    ['a slash', '/crm/projects/a%2Fb', 'crm:project/a%2Fb'],
    ['a star', '/crm/users/*', 'crm:user/%2A'],
  ])('%s in an id never adds a segment or a wildcard', (_, target, resource) => {
    expect(mappedAt(target).resource).toBe(resource)
  })

  test.each(['__proto__', 'constructor', 'toString'])('a parameter may hold %s', (id) => {
    expect(mappedAt(`/crm/users/${id}`).params.id).toBe(id)
  })

  test('the pattern `/` is the path `/` of the backend', () => {
    const root = operationOf('GET /', { resource: 'root' })
    const below = routed({ target: '/crm/' }, [backendOf({ operations: [root] })])
    expect(below.mapped).toMatchObject({ backendPath: '/', resource: 'crm:root' })
    expect(codeOf(routed({ target: '/crm' }, [backendOf({ operations: [root] })]).mapped)).toBe(
      'operation_unmapped',
    )
    const atHost = routed({ target: '/', host: 'crm.gate.example' }, [onHost('crm', { operations: [root] })])
    expect(atHost.mapped).toMatchObject({ backendPath: '/', resource: 'crm:root' })
  })
})

describe('B8 nothing matches by similarity', () => {
  test.each([
    ['another case', '/crm/USERS'],
    ['another case of the prefix', '/CRM/users'],
    ['a trailing slash', '/crm/users/'],
    ['a trailing slash after a parameter', '/crm/users/4711/'],
    ['a longer path', '/crm/users/4711/orders'],
    ['an added suffix', '/crm/users.json'],
    ['a longer prefix', '/crmx/users'],
    ['a prefix inside the path', '/x/crm/users'],
    ['no path below the prefix', '/crm'],
    ['nothing at all', '/'],
    ['the backend path without its prefix', '/users'],
  ])('%s: %s', (_, target) => {
    expect(refusalAt(target)).toBe('operation_unmapped')
  })

  test.each([
    ['in another case', 'ME'],
    ['in mixed case', 'Me'],
    ['encoded', '%40all'],
    ['encoded in another case', '%40ALL'],
    ['with a format', 'me.json'],
    ['with two suffixes', 'me.tar.gz'],
    ['with a dot', 'me.'],
    ['with a format in another case', 'ME.JSON'],
    ['in full width', '%EF%BD%8De'],
    ['in full width, with a dot of that width', '%EF%BD%8De%EF%BC%8Ejson'],
    ['in mathematical letters', '%F0%9D%90%A6e'],
    ['with a word joiner', 'm%E2%81%A0e'],
    ['with a zero-width joiner', 'm%E2%80%8De'],
    ['with a soft hyphen', 'm%C2%ADe'],
    ['with a variation selector', 'me%EF%B8%8F'],
    ['with a byte order mark', 'm%EF%BB%BFe'],
  ])('%s it could be the literal to some backend, so it is not the parameter either: %s', (_, id) => {
    expect(refusalAt(`/crm/users/${id}`)).toBe('operation_unmapped')
  })

  test('letters that only fold upwards resemble their literal', () => {
    const list = [
      operationOf('GET /x/{id}', { resource: 'x/{id}' }),
      operationOf('GET /x/kis', { resource: 'kis' }),
    ]
    // KELVIN SIGN, DOTLESS I, LONG S
    for (const id of ['%E2%84%AAis', 'k%C4%B1s', 'ki%C5%BF']) {
      expect(codeOf(routed({ target: `/crm/x/${id}` }, [backendOf({ operations: list })]).mapped)).toBe(
        'operation_unmapped',
      )
    }
  })

  test.each(['9821.5', 'mew.json', 'm', 'm.e', '.me', 'caf%C3%A9', 'jane.me@example.com', 'home'])(
    '%s resembles no literal and is an id',
    (id) => {
      expect(matchAt(`/crm/users/${id}`)).toBe('GET /users/{id}')
    },
  )

  test('a literal may hold a dot itself', () => {
    const list = [
      operationOf('GET /x/{id}', { resource: 'x/{id}' }),
      operationOf('GET /x/export.csv', { resource: 'export' }),
      operationOf('GET /x/.hidden', { resource: 'hidden' }),
    ]
    const at = (id: string) => routed({ target: `/crm/x/${id}` }, [backendOf({ operations: list })]).mapped
    expect(accepted(at('export.csv')).operation.match).toBe('GET /x/export.csv')
    expect(accepted(at('.hidden')).operation.match).toBe('GET /x/.hidden')
    expect(accepted(at('.other')).operation.match).toBe('GET /x/{id}')
    expect([codeOf(at('export')), codeOf(at('export.json')), codeOf(at('.hidden.json'))]).toEqual(
      Array(3).fill('operation_unmapped'),
    )
  })
})

describe('F3 another method', () => {
  test('names those that are mapped at the path', () => {
    const refusal = routed({ target: '/crm/users/4711', method: 'DELETE' }).mapped
    expect(refusal).toMatchObject({ code: 'method_unmapped', facts: { allow: ['GET', 'PATCH'] } })
  })

  test.each([
    ['/crm/users', 'POST'],
    ['/crm/users', 'OPTIONS'],
    ['/crm/search', 'HEAD'],
  ])('%s %s', (target, method) => {
    const post = backendOf({
      operations: [...operations.slice(0, 7), operationOf('POST /search', { resource: 's' })],
    })
    expect(codeOf(routed({ target, method }, [post]).mapped)).toBe('method_unmapped')
  })
})

describe('B3, B12 an encoded slash', () => {
  test('is data where the operation says so', () => {
    expect(mappedAt('/crm/projects/a%2Fb')).toMatchObject({
      params: { id: 'a/b' },
      backendPath: '/projects/a%2Fb',
    })
  })

  test('is refused everywhere else', () => {
    expect(refusalAt('/crm/users/a%2Fb')).toBe('malformed_request')
  })
})

describe('B10 a query parameter that policy could see', () => {
  test('is shown once', () => {
    expect(mappedAt('/crm/users?a=1&b=x+y').query).toEqual({ a: '1', b: 'x y' })
  })

  test.each([
    ['repeated', 'id=1&id=2'],
    ['repeated with one value', 'id=1&id=1'],
    ['in another case', 'id=1&ID=2'],
    ['with encoded brackets', 'id%5B%5D=1'],
    ['with an index', 'id%5B0%5D=1'],
    ['with an encoded name', '%69d=1'],
    ['with an encoded value', 'id=%31'],
    ['doubly encoded', 'id=%2531'],
    ['as PHP reads a dot', 'user_id=1&user.id=2'],
    ['as PHP reads a space', 'user_id=1&user+id=2'],
    ['behind a space', 'id=1&+id=2'],
    ['without a name', '=1'],
  ])('%s: refused', (_, query) => {
    expect(refusalAt(`/crm/users?${query}`)).toBe('malformed_request')
  })

  test('may repeat where it is hidden from policy', () => {
    expect(mappedAt('/crm/search?tag=a&tag=b&ids%5B%5D=1&ids%5B%5D=2&q=x').query).toEqual({ q: 'x' })
  })

  test('is only hidden under its exact name', () => {
    expect(refusalAt('/crm/search?TAG=a&tag=b&TAG=c')).toBe('malformed_request')
  })

  test.each(['__proto__', 'constructor'])('may be called %s', (name) => {
    expect(Object.entries(mappedAt(`/crm/users?${name}=1`).query)).toEqual([[name, '1']])
  })
})

describe('the backend', () => {
  const billing = backendOf({ name: 'billing', pathPrefix: '/billing/v2', operations })
  const desk = onHost('desk')

  test('is found by its prefix, at segment boundaries', () => {
    expect(routed({ target: '/billing/v2/users' }, [crm, billing]).backend?.name).toBe('billing')
    expect(routed({ target: '/billing/users' }, [crm, billing]).backend).toBeUndefined()
    expect(routed({ target: '/billing/v2x/users' }, [crm, billing]).backend).toBeUndefined()
  })

  test('is found by its authority, whose paths have no prefix', () => {
    const found = routed({ target: '/users/1', host: 'CRM.gate.example' }, [crm, desk])
    expect(found.backend?.name).toBe('desk')
    expect(found.mapped).toMatchObject({ resource: 'desk:user/1', backendPath: '/users/1' })
  })

  test('at an authority of its own hides the prefixes of others there', () => {
    expect(codeOf(routed({ target: '/crm/users', host: 'crm.gate.example' }, [crm, desk]).mapped)).toBe(
      'operation_unmapped',
    )
  })
})

test('a refusal of the map waits until the caller has authenticated', () => {
  for (const target of ['/crm/nothing', '/nowhere', '/crm/users/a%2Fb', '/crm/users?id=1&id=2']) {
    const found = routed({ target })
    expect(isRefusal(found)).toBe(false)
    expect(codeOf(admit(found, leaseOf()))).toBe(codeOf(found.mapped as Refusal))
    expect(codeOf(found.mapped)).not.toBe('accepted')
  }
})

test('a thousand operations: each path finds its own', () => {
  const many: Operation[] = Array.from({ length: 1_000 }, (_, at) =>
    operationOf(`GET /area${at % 10}/{id}/part${at}`, { resource: `area${at % 10}/{id}/part${at}` }),
  )
  const router = createRouter([backendOf({ operations: many })])
  for (const [at, operation] of many.entries()) {
    const { mapped } = route(requestOf({ target: `/crm/area${at % 10}/x/part${at}` }), router)
    expect(accepted(mapped).operation).toBe(operation)
  }
})
