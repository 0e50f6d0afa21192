// In: what the configuration says of the Redis that all gates share. Out: where it is, who asks, and what to call
// it in messages. Throws `Unavailable`, without the text, for what cannot be used. It never connects.
import { Unavailable } from '../ports.ts'
import type { Address } from './redis_primary.ts'

/** PEM texts of a TLS connection to Redis. */
export interface RedisTls {
  /** Who may vouch for the server; absent: the authorities that Node trusts. */
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  /** The name that the server's certificate has to carry; absent: the host that is dialled. */
  readonly serverName?: string
}

/** How to reach Redis or Valkey: exactly one of `url`, `sentinel` and `cluster`. */
export interface RedisServers {
  /** One server: `redis:` or `rediss:`; user and password may stand in it. */
  readonly url?: string
  readonly sentinel?: {
    /** The name that the sentinels know the primary by. */
    readonly name: string
    readonly nodes: readonly Address[]
    /** Of the sentinels themselves. */
    readonly username?: string
    readonly password?: string
    /** The sentinels speak TLS. */
    readonly tls?: RedisTls
  }
  readonly cluster?: { readonly nodes: readonly Address[] }
  readonly username?: string
  readonly password?: string
  /** The servers speak TLS; with a url, `rediss:` says so as well. */
  readonly tls?: RedisTls
}

/** Who asks a server, and over what. */
export interface Access {
  readonly username?: string
  readonly password?: string
  readonly tls?: RedisTls
}

/** Where the primary is, or who knows. */
export interface Place {
  readonly access: Access
  readonly at:
    | { readonly single: Address; readonly db: number }
    | {
        readonly sentinel: {
          readonly name: string
          readonly nodes: readonly Address[]
          readonly access: Access
        }
      }
    | { readonly cluster: { readonly nodes: readonly Address[] } }
  /** For messages; holds no secret. */
  readonly where: string
}

/** Reads the options. */
export function placeOf({ url, sentinel, cluster, ...own }: RedisServers): Place {
  const given = [url, sentinel, cluster].filter((each) => each !== undefined)
  if (given.length !== 1) throw new Unavailable('give Redis exactly one of url, sentinel and cluster')
  const access = accessOf(own)
  if (url !== undefined) return singlePlace(url, access)
  if (sentinel !== undefined) {
    const { name, nodes } = sentinel
    const at = { sentinel: { name, nodes: someOf(nodes), access: accessOf(sentinel) } }
    return { access, at, where: `the primary ${name} of the sentinels ${listed(nodes)}` }
  }
  const nodes = someOf(cluster?.nodes ?? [])
  return { access, at: { cluster: { nodes } }, where: `the Cluster of ${listed(nodes)}` }
}

function singlePlace(url: string, access: Access): Place {
  const parsed = URL.parse(url)
  if (parsed === null || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === '') {
    throw new Unavailable('the Redis url must look like redis://host:port or rediss://host:port')
  }
  // They would be taken as options, and could undo the safe ones.
  if (parsed.search !== '') throw new Unavailable('the Redis url must not have a query')
  const db = /^\/?([0-9]{0,9})$/.exec(parsed.pathname)?.[1]
  if (db === undefined) throw new Unavailable('the path of the Redis url must be the number of a database')
  const { username, password } = parsed
  const single = { host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(parsed.port || 6379) }
  return {
    access: {
      ...access,
      ...(username === '' ? {} : { username: decoded(username) }),
      ...(password === '' ? {} : { password: decoded(password) }),
      ...(parsed.protocol === 'rediss:' && access.tls === undefined ? { tls: {} } : {}),
    },
    at: { single, db: Number(db) },
    where: parsed.host,
  }
}

function accessOf({ username, password, tls }: Access): Access {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
  }
}

function someOf(nodes: readonly Address[]): readonly Address[] {
  if (nodes.length === 0) throw new Unavailable('name at least one node')
  return nodes
}

function listed(nodes: readonly Address[]): string {
  return nodes.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(', ')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Unavailable('user and password in the Redis url must be percent-encoded')
  }
}
