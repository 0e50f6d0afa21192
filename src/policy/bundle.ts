// In: an OPA bundle (`opa build -t wasm`), a gzipped tar archive. Out: its module and its data documents.
// Never unpacks to disk, never verifies a signature: whoever can write the policy directory decides.
import { basename } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { fileError } from './diagnostic.ts'
import type { DataFile } from './sources.ts'

const maxUnpackedBytes = 128 * 1024 * 1024
const blockBytes = 512

/**
 * Reads `policy.wasm` and every `data.json` or `data.yaml`, whose place under `data` is its directory.
 * Throws `PolicyError` when the archive is damaged or has no module.
 */
export function readBundle(name: string, packed: Uint8Array): { wasm: Uint8Array; data: DataFile[] } {
  let entries: Map<string, Uint8Array>
  try {
    entries = untar(gunzipSync(packed, { maxOutputLength: maxUnpackedBytes }))
  } catch (thrown) {
    throw fileError(name, 'bundle_invalid', thrown instanceof Error ? thrown.message : 'cannot be read')
  }
  const wasm = entries.get('policy.wasm')
  if (wasm === undefined)
    throw fileError(name, 'bundle_invalid', 'no policy.wasm in it: build it with -t wasm')
  const data = [...entries]
    .filter(([path]) => /^data\.(json|yaml|yml)$/.test(basename(path)))
    .map(([path, bytes]) => ({
      file: `${name}/${path}`,
      keys: path.split('/').slice(0, -1),
      bytes,
    }))
  return { wasm, data }
}

/** Regular files of a ustar archive (POSIX.1-1988) by path, without a leading `/` or `./`. */
function untar(archive: Uint8Array): Map<string, Uint8Array> {
  const entries = new Map<string, Uint8Array>()
  const decoder = new TextDecoder()
  for (let block = 0; block < archive.length && archive[block] !== 0; ) {
    const field = (offset: number, length: number): string =>
      decoder.decode(archive.subarray(block + offset, block + offset + length)).split('\0', 1)[0]!
    const size = Number.parseInt(field(124, 12), 8)
    const start = block + blockBytes
    if (!(size >= 0) || start + size > archive.length) throw new Error('the archive is damaged')
    const type = field(156, 1)
    if (type === '0' || type === '') {
      const path = `${field(345, 155)}/${field(0, 100)}`.replace(/^(\.?\/)+/, '')
      entries.set(path, archive.subarray(start, start + size))
    } else if (type !== '5') throw new Error(`an entry of type ${type} is not understood`)
    block = start + Math.ceil(size / blockBytes) * blockBytes
  }
  return entries
}
