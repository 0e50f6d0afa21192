// `GET /jwks`: the public keys that lease tokens are signed with.
import type { PublicJwk } from '../lease/jose.ts'
import type { Endpoint } from './control.ts'

/** The endpoint; `keys` are read anew for every answer. */
export function jwksEndpoint(keys: () => readonly PublicJwk[]): Endpoint {
  return {
    method: 'GET',
    path: '/jwks',
    access: 'open',
    takes: 'nothing',
    errors: 'problem',
    serve: () => ({ status: 200, body: { keys: keys() }, headers: { 'cache-control': 'max-age=300' } }),
  }
}
