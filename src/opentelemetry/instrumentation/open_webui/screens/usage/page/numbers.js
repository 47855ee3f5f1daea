/* Numbers, money and times as people of a language write them. */

import { locale, text } from "./texts.js";
import { zone } from "./api.js";

const CENT = 0.01;

const whole = new Intl.NumberFormat(locale);
const cents = new Intl.NumberFormat(locale, { style: "currency", currency: "USD" });
const fine = new Intl.NumberFormat(locale, {
  style: "currency",
  currency: "USD",
  minimumFractionDigits: 2,
  maximumFractionDigits: 6,
});
const tenths = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat(locale, {
  dateStyle: "medium",
  timeStyle: "medium",
  timeZone: zone,
});
const clock = new Intl.DateTimeFormat(locale, { timeStyle: "short", timeZone: zone });
// The days of the server are those of our zone already.
const day = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" });

export const count = (number) => (number === null ? "–" : whole.format(number));

/* To the cent; what is less than one is not nothing. */
export const money = (usd) => {
  if (usd === null) return text("unknown_price");
  const amount = Number(usd);
  return amount > 0 && amount < CENT / 2 ? `< ${cents.format(CENT)}` : cents.format(amount);
};

/* Of one call, which is seldom worth a cent. */
export const exactly = (usd) => fine.format(Number(usd));

export const seconds = (amount) => `${tenths.format(amount)} s`;

export const time = (iso) => moment.format(new Date(iso));

export const begin = (iso, every) =>
  every === "hour" ? clock.format(new Date(iso)) : day.format(new Date(`${iso}T00:00:00Z`));
