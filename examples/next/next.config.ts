import type { NextConfig } from 'next'

const config: NextConfig = {
  poweredByHeader: false,
  devIndicators: false,
  // This folder, and not the repository around it, which has a lock file too.
  turbopack: { root: import.meta.dirname },
}

export default config
