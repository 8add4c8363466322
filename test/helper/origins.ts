import { PASSWORD } from './child.ts'

/** Entries that are no origin, or that match too many. */
export const NOT_ORIGINS = [
  '*',
  ',',
  ' , ',
  'null',
  'https://app.example.com,*',
  'https://app.example.com/login',
  'https://app.example.com?x=1',
  'https://app.example.com/#top',
  'https://*.vercel.app',
  'https://app-*.vercel.app',
  'https://*-app-*-team.vercel.app',
  'https://app.*-team.vercel.app',
  `https://ada:${PASSWORD}@app.example.com`,
  `https://ada:${PASSWORD}@*-app-*-team.vercel.app`,
  `ada:${PASSWORD}@app.example.com`,
  'app.example.com',
  'localhost:3000',
  'ftp://app.example.com',
]
