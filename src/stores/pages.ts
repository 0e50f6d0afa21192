// In: a hash that Redis gives page by page. Out: every page of it, from one server, the next one asked for while one
// is taken in. What stands in the hash from the first to the last is on one of them; it can be there twice.
import { setTimeout as sleep } from 'node:timers/promises'
import { Unavailable } from '../ports.ts'

/** Some of the hash: key, value, key, value …, and where it goes on. */
interface Page {
  readonly cursor: string
  readonly entries: readonly string[]
}

/** Where pages come from. */
export interface PageSource {
  /** Names the server process that has the hash now. */
  server(): Promise<string>
  /** One page of the hash, from cursor `0` to cursor `0`. */
  scan(cursor: string): Promise<Page>
}

/** How often one page is asked for. */
const attempts = 4
const retryMs = 20

/** The whole hash. Throws `Unavailable` when pages may be missing. */
export async function* pagesOf(source: PageSource): AsyncGenerator<readonly string[]> {
  const server = await source.server()
  let coming: Promise<Page> | undefined = page(source, '0')
  while (coming !== undefined) {
    const { cursor, entries }: Page = await coming
    coming = cursor === '0' ? undefined : page(source, cursor)
    yield entries
  }
  // After a fail-over or a move of the slot in between, pages were of two hashes.
  if ((await source.server()) !== server) throw new Unavailable('Redis: another server answers')
}

/** One of some thousand; that one takes too long is no reason to begin anew. */
async function page(source: PageSource, cursor: string): Promise<Page> {
  for (let attempt = 1; attempt < attempts; attempt++) {
    try {
      return await source.scan(cursor)
    } catch {
      await sleep(retryMs * attempt)
    }
  }
  return source.scan(cursor)
}
