// The broker as a client finds it (RFC 8414), read by a client library that is not ours; and the protected
// resources of the gate (RFC 9728), the same way. Real sockets.
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as oauth from 'oauth4webapi'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { bind } from '../../src/http/bind.ts'
import { createControlListener, type Endpoint } from '../../src/http/control.ts'
import { jwksEndpoint } from '../../src/http/jwks.ts'
import { type MetadataParts, metadataEndpoints } from '../../src/http/metadata.ts'
import { startTestGate, type TestGate } from '../support/gate.ts'

const insecure = { [oauth.allowInsecureRequests]: true }
const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})

const post = (path: string): Endpoint => ({
  method: 'POST',
  path,
  access: 'open',
  takes: 'form',
  errors: 'oauth',
  serve: () => ({ status: 200 }),
})
const jwks = jwksEndpoint(() => [])
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
const deferred = 'urn:ietf:params:oauth:grant-type:deferred'
const all: Omit<MetadataParts, 'issuer'> = {
  endpoints: [jwks, post('/token'), post('/introspect'), post('/revoke')],
  grantTypes: [exchange, deferred],
  clientAuthentication: ['private_key_jwt', 'tls_client_auth'],
  assertionAlgorithms: ['ES256'],
  proofAlgorithms: ['ES256', 'EdDSA'],
  certificateBound: true,
}

/** A listener that serves the metadata of an issuer at its own address. */
async function served(parts: Partial<MetadataParts> = {}, path = ''): Promise<URL> {
  const endpoints: Endpoint[] = []
  const listener = createControlListener({
    endpoints,
    operators: [],
    publicUrl: '',
    onBug: (bug) => {
      throw bug
    },
  })
  servers.push(listener)
  await bind(listener, 'control', { host: '127.0.0.1', port: 0 })
  const issuer = `http://127.0.0.1:${(listener.address() as AddressInfo).port}${path}`
  endpoints.push(...metadataEndpoints({ ...all, issuer, ...parts }))
  return new URL(issuer)
}

async function discovered(issuer: URL): Promise<oauth.AuthorizationServer> {
  const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })
  return oauth.processDiscoveryResponse(issuer, response)
}

/** With the slash that `URL` puts behind an authority, an issuer would be another one. */
async function documentOf(issuer: URL, path = ''): Promise<Record<string, unknown>> {
  const response = await fetch(`${issuer.origin}/.well-known/oauth-authorization-server${path}`)
  expect([response.status, response.headers.get('cache-control')]).toEqual([200, 'max-age=300'])
  return (await response.json()) as Record<string, unknown>
}

describe('the metadata of RFC 8414', () => {
  test('tells everything that is there, with the URLs it is published under', async () => {
    const { origin } = await served()
    expect(await documentOf(new URL(origin))).toEqual({
      issuer: origin,
      jwks_uri: `${origin}/jwks`,
      token_endpoint: `${origin}/token`,
      grant_types_supported: [exchange, deferred],
      token_endpoint_auth_methods_supported: ['private_key_jwt', 'tls_client_auth'],
      token_endpoint_auth_signing_alg_values_supported: ['ES256'],
      dpop_signing_alg_values_supported: ['ES256', 'EdDSA'],
      tls_client_certificate_bound_access_tokens: true,
      authorization_details_types_supported: ['lease'],
      deferred_token_response_supported: true,
      code_challenge_methods_supported: ['S256'],
      introspection_endpoint: `${origin}/introspect`,
      revocation_endpoint: `${origin}/revoke`,
    })
  })

  test.each([
    ['an issuer of an authority alone', ''],
    ['an issuer with a path: the well-known part stands between', '/tenants/acme'],
  ])('is found by an OAuth client: %s', async (_, path) => {
    const issuer = await served({}, path)
    const server = await discovered(issuer)
    expect(server.token_endpoint).toBe(`${issuer.href.replace(/\/$/, '')}/token`)
  })

  test('leaves out what is not there', async () => {
    const bare = { ...all, endpoints: [jwks], certificateBound: false }
    const issuer = await served(bare)
    expect(Object.keys(await documentOf(issuer))).toEqual(['issuer', 'jwks_uri'])
  })

  test('leaves out what has nothing in it', async () => {
    const none = { grantTypes: [exchange], clientAuthentication: ['tls_client_auth'], proofAlgorithms: [] }
    const issuer = await served({ ...none, certificateBound: false })
    const document = await documentOf(issuer)
    for (const member of [
      'token_endpoint_auth_signing_alg_values_supported',
      'dpop_signing_alg_values_supported',
      'tls_client_certificate_bound_access_tokens',
      'deferred_token_response_supported',
    ]) {
      expect(document).not.toHaveProperty(member)
    }
    expect(Object.values(document).every((value) => JSON.stringify(value) !== '[]')).toBe(true)
  })

  test('is not served for an issuer that is no URL', () => {
    expect(metadataEndpoints({ ...all, issuer: 'the-broker' })).toEqual([])
  })
})

describe('a gate with its broker', () => {
  let gate: TestGate
  beforeAll(async () => {
    gate = await startTestGate({
      config: { public_origin: 'http://gate.example', broker: { issuer: 'http://broker.example' } },
      crm: { require_binding: 'always' },
    })
  })
  afterAll(() => gate.close())

  /** What a client asks of a name, at the socket that is behind it here. */
  const at = (port: number) => ({
    [oauth.customFetch]: async (url: string) => {
      const { pathname, host } = new URL(url)
      if (host === 'broker.example') return fetch(`http://127.0.0.1:${port}${pathname}`)
      const answer = await gate.ask(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
      const headers = { 'content-type': answer.headers['content-type']! }
      return new Response(answer.body.toString(), { status: answer.status, headers })
    },
  })

  test('publishes the broker', async () => {
    const issuer = new URL('http://broker.example')
    const options = { algorithm: 'oauth2', ...insecure, ...at(gate.running.control.port) } as const
    const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options))
    expect(server.jwks_uri).toBe('http://broker.example/jwks')
  })

  test.each(['http://gate.example/crm', 'http://gate.example'])('publishes %s', async (name) => {
    const resource = new URL(name)
    const response = await oauth.resourceDiscoveryRequest(resource, { ...insecure, ...at(0) })
    const found = await oauth.processResourceDiscoveryResponse(resource, response)
    expect(found).toMatchObject({
      authorization_servers: ['https://broker.example'],
      bearer_methods_supported: ['header'],
      dpop_bound_access_tokens_required: true,
      ...(name.endsWith('/crm') && { resource_name: 'crm' }),
    })
  })
})
