// In: a URL from the configuration and bounds. Out: the body of its 200 answer, or undefined.
// Never follows a redirect, never reads beyond its limit, never waits beyond its deadline, never throws.

export interface FetchBounds {
  readonly accept: string
  /** Bytes of the body after content decoding. */
  readonly maxBytes: number
  /** From the call to the last byte of the body. */
  readonly timeoutMs: number
}

/** How the lease code reaches the network. */
export type Fetch = (url: string, bounds: FetchBounds) => Promise<Uint8Array | undefined>

/** `Fetch` over the platform's HTTP client. */
export const fetchBounded: Fetch = async (url, { accept, maxBytes, timeoutMs }) => {
  try {
    const signal = AbortSignal.timeout(timeoutMs)
    // A redirect would let the answering host choose where the keys of an issuer come from.
    const response = await fetch(url, { headers: { accept }, redirect: 'error', signal })
    if (response.status !== 200 || response.body === null) {
      await response.body?.cancel()
      return undefined
    }
    return await readBounded(response.body, maxBytes)
  } catch {
    return undefined
  }
}

async function readBounded(body: ReadableStream<Uint8Array>, maxBytes: number) {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.byteLength
    // Leaving the loop cancels the stream and closes the connection.
    if (size > maxBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
