"""Grafana dashboards and Prometheus rules, built from one set of queries.

``python -m dashboards`` writes them, ``python -m dashboards --check`` says whether they are up to date.

The way from a question to a file: ``promql`` knows how a total is read (three ways), ``queries`` has
each expression once with the question that it answers, ``panels`` how an answer is drawn, and one
small module for each dashboard which answers stand where. ``rules`` makes Prometheus' recording and
alerting rules of the same queries.
"""
