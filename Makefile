# Every recipe is a few lines; what is longer lives in a script beside what it works on.
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench images up down faults fmt

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## Build, then run the main job from start to end with the embedded default, checked step by step
	cargo build --locked --bin lictor
	cargo run --locked --quiet --bin lictor -- demo

test: ## Run everything: unit, store suites on both engines, end to end, faults, Docker
	tests/scripts/install-dependencies.sh
	tests/scripts/run-tests.sh

lint: ## Formatting, clippy without a warning
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings

fmt: ## Format the code
	cargo fmt --all

bench: ## Print figures as ratios to a bare twin of the same run
	tests/scripts/run-bench.sh

faults: ## The long fault run: kill -9 of each process, 50 times each (LICTOR_TEST_SCALE=100)
	LICTOR_TEST_SCALE=$${LICTOR_TEST_SCALE:-100} tests/scripts/run-tests.sh lictor-tests-faults

images: ## Make the images of all services with the installed Docker engine
	deploy/build-images.sh

up: ## Run the whole system with Compose
	docker-compose up -d

down: ## Stop it again; volumes stay
	docker-compose down
